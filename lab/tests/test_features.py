import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

from lab import FeatureDataset, StoredBackbone, store_features
from mmdet_nrpn.evaluation import GroundTruth

CONFIG = 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py'


@pytest.fixture
def stored(repo, shapes, tmp_path, monkeypatch):
    """A small network, its images, and a folder with their features."""
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')
    cfg = Config.fromfile(repo / CONFIG)
    cfg.model.data_preprocessor.pad_size_divisor = 256
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    store_features(model, dataset, tmp_path / 'features', batch_size=3)
    return model, dataset, tmp_path / 'features'


def test_the_rest_of_the_network_sees_what_it_would_have_seen(stored):
    model, dataset, folder = stored
    features = FeatureDataset([folder])
    assert len(features) == len(dataset) == 4
    for i in range(4):
        data = model.data_preprocessor(pseudo_collate([dataset[i]]))
        kept = pseudo_collate([features[i]])
        with torch.no_grad():
            for level, expected in zip(StoredBackbone()(kept['inputs']), model.backbone(data['inputs'])):
                assert level.dtype == torch.float32
                torch.testing.assert_close(level, expected, rtol=1e-3, atol=1e-4)  # half precision
        sample, expected = kept['data_samples'][0], data['data_samples'][0]
        for key in ('img_id', 'img_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor'):
            assert sample.get(key) == expected.get(key)
        assert torch.equal(sample.gt_instances.bboxes, expected.gt_instances.bboxes)
        assert torch.equal(sample.gt_instances.labels, expected.gt_instances.labels)
        ground_truth = GroundTruth(features)(sample.to_dict()), GroundTruth(dataset)(expected.to_dict())
        for bboxes, expected_bboxes in zip(*ground_truth):
            np.testing.assert_array_equal(bboxes, expected_bboxes)


def test_several_folders_are_one_after_the_other(stored):
    *_, folder = stored
    both = FeatureDataset([folder, folder])
    assert len(both) == 8
    assert torch.equal(both[1]['inputs'][0], both[5]['inputs'][0])


def test_the_metric_takes_stored_ground_truth_with_its_ignored_objects(stored):
    *_, folder = stored
    samples = json.loads((folder / 'samples.json').read_text())
    samples[0]['ignored'] = dict(bboxes=[[0, 0, 9, 9]], labels=[0])
    (folder / 'samples.json').write_text(json.dumps(samples))
    features = DATASETS.build(dict(type='FeatureDataset', folders=[str(folder)]))
    sample = features[0]['data_samples'].to_dict()
    bboxes, ignored_bboxes = GroundTruth(features)(sample)
    assert len(bboxes) == len(sample['gt_instances']['bboxes'])
    assert ignored_bboxes.tolist() == sample['ignored_instances']['bboxes'].tolist() == [[0, 0, 9, 9]]


def test_features_that_are_not_complete_are_refused(stored):
    *_, folder = stored
    (folder / 'samples.json').unlink()  # written last
    with pytest.raises(FileNotFoundError, match='holds no stored features'):
        FeatureDataset([folder])


def test_the_files_are_plain(stored):
    *_, folder = stored
    assert [path.name for path in sorted(folder.iterdir())] == [*(f'level{i}.npy' for i in range(4)), 'samples.json']
    assert np.load(folder / 'level0.npy', allow_pickle=False).dtype == np.float16
    assert len(json.loads((folder / 'samples.json').read_text())) == 4


def test_building_the_network_leaves_the_process_as_it_was():
    StoredBackbone()
    assert float(torch.tensor(1e-40) * 1) > 0  # a denormal number survives


@pytest.mark.parametrize(
    'metric, name',
    [
        (dict(type='VOCMetric', metric='mAP', eval_mode='area'), 'pascal_voc/mAP'),
        (dict(type='FROCMetric'), 'froc/mean_recall'),
    ],
)
def test_metrics_take_stored_objects_with_their_classes(stored, metric, name):
    *_, folder = stored
    features = FeatureDataset([folder])
    metric = METRICS.build(metric)
    metric.dataset_meta = features.metainfo
    metric.ground_truth = GroundTruth(features)
    samples = [features[i]['data_samples'] for i in range(len(features))]
    boxes = [torch.from_numpy(GroundTruth(features)(sample.to_dict())[0]).float() for sample in samples]
    for sample, bboxes in zip(samples, boxes):
        labels = sample.gt_instances.labels
        sample.pred_instances = InstanceData(bboxes=bboxes, labels=labels, scores=torch.ones(len(labels)))
    metric.process({}, [sample.to_dict() for sample in samples])
    classes = {label for sample in samples for label in sample.gt_instances.labels.tolist()}
    assert len(features.metainfo['classes']) == 20
    assert metric.evaluate(len(samples))[name] == pytest.approx(1)
    for sample in samples:  # the right boxes of the wrong class
        sample.pred_instances.labels = sample.gt_instances.labels + len(classes)
    metric.process({}, [sample.to_dict() for sample in samples])
    assert metric.evaluate(len(samples))[name] == 0


@pytest.mark.parametrize(
    'tool, words',
    [
        (
            'tools/analysis_tools/browse_hard_negatives.py',
            'val_dataloader: it gives no images',
        ),
        ('lab/scripts/ignore_false_positives.py', 'val_dataloader.dataset is a FeatureDataset without a pipeline'),
    ],
)
def test_tools_that_look_at_images_say_that_there_are_none(stored, repo, tmp_path, tool, words):
    (tmp_path / 'val').symlink_to(stored[2])
    config = repo / 'lab' / 'configs' / 'rpn_efficientnet-lite0_fpn_lab_voc07.py'
    torch.save(MODELS.build(Config.fromfile(config).model).state_dict(), tmp_path / 'new.pth')
    out = ['--out', tmp_path / 'out.html'] if 'browse' in tool else [tmp_path / 'out']
    done = subprocess.run(
        [sys.executable, repo / tool, config, tmp_path / 'new.pth', *out],
        env={**os.environ, 'FEATURES': f'{tmp_path}/'}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and f'{config}: {words}' in done.stderr, done.stderr


def test_classes_are_those_that_are_named(stored):
    *_, folder = stored
    every = FeatureDataset([folder])
    # synthetic images have labels 0 to 2, here the names of VOC's first classes
    some = FeatureDataset([folder], classes=['bicycle', 'aeroplane'])
    assert some.metainfo['classes'] == ('bicycle', 'aeroplane')
    for i in range(len(every)):
        expected = every[i]['data_samples'].gt_instances
        found = some[i]['data_samples'].gt_instances
        kept = expected[expected.labels < 2]
        assert torch.equal(found.bboxes, kept.bboxes)
        assert torch.equal(found.labels, 1 - kept.labels)
    none = FeatureDataset([folder], classes=['sofa'])
    assert len(none) == len(every) and not any(len(item['data_samples'].gt_instances) for item in none)


def test_objects_of_other_classes_are_ignored_if_asked_for(stored):
    *_, folder = stored
    samples = json.loads((folder / 'samples.json').read_text())
    samples[0]['ignored'] = dict(bboxes=[[0, 0, 9, 9], [1, 1, 5, 5]], labels=[2, 1])
    (folder / 'samples.json').write_text(json.dumps(samples))
    every = FeatureDataset([folder])
    some = FeatureDataset([folder], classes=['bicycle', 'aeroplane'], ignore_others=True)
    for before, after in ((every[i]['data_samples'], some[i]['data_samples']) for i in range(len(every))):
        is_other = {kind: before.get(kind).labels == 2 for kind in ('gt_instances', 'ignored_instances')}
        assert torch.equal(after.gt_instances.bboxes, before.gt_instances.bboxes[~is_other['gt_instances']])
        kept = before.ignored_instances[~is_other['ignored_instances']]
        others = [before.get(kind).bboxes[mask] for kind, mask in is_other.items()]
        assert torch.equal(after.ignored_instances.bboxes, torch.cat([kept.bboxes, *others]))
        assert after.ignored_instances.labels.tolist() == [*(1 - kept.labels), *[-1] * sum(map(len, others))]
        ignored = GroundTruth(some)(after.to_dict())[1]
        np.testing.assert_array_equal(ignored, after.ignored_instances.bboxes)


def test_images_without_objects_are_left_out_if_asked_for(stored):
    *_, folder = stored
    every = FeatureDataset([folder])
    for label, name in enumerate(('aeroplane', 'bicycle', 'bird')):
        with_it = [i for i in range(len(every)) if label in every[i]['data_samples'].gt_instances.labels]
        some = FeatureDataset([folder], classes=[name], filter_empty_gt=True)
        assert [item['data_samples'].img_id for item in some] == [every[i]['data_samples'].img_id for i in with_it]
        for item, i in zip(some, with_it):
            assert torch.equal(item['inputs'][0], every[i]['inputs'][0])
