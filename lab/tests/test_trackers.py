"""Trackers on synthetic sequences: they train, they are measured, and the measure is one of tracks."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

CONFIGS = sorted((Path(__file__).parents[1] / 'configs').glob('*_demo_shape-sequences.py'))
STOCK = 'lab/configs/qdtrack_faster-rcnn_r18-w16_fpn_demo_shape-sequences.py'


@pytest.fixture
def sequences(run_tool, tmp_path, monkeypatch):
    root = tmp_path / 'sequences'
    tool = 'lab/scripts/make_shape_sequences.py'
    done = run_tool(tool, root, '--train', 2, '--val', 2, '--frames', 8, '--size', 96)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv('SHAPE_SEQUENCES_ROOT', f'{root}/')


def measure(repo, tracked):
    """The stock config's metric for what ``tracked`` makes of the ground truth of each frame."""
    cfg = Config.fromfile(repo / STOCK)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    for video in range(len(dataset)):
        for frame in range(dataset.get_len_per_video(video)):
            sample = dataset[video, frame]['data_samples']
            (image,) = sample.video_data_samples
            boxes = torch.tensor([instance['bbox'] for instance in image.instances])
            ids = torch.tensor([instance['instance_id'] for instance in image.instances])
            boxes, ids = tracked(boxes, ids, frame)
            image.pred_track_instances = InstanceData(bboxes=boxes, scores=torch.ones(len(ids)), instances_id=ids)
            metric.process({}, [sample.to_dict()])
    return {key.split('/')[1]: value for key, value in metric.evaluate().items()}


def test_metric_tells_tracks_apart(repo, sequences):
    right = measure(repo, lambda boxes, ids, frame: (boxes, ids))
    assert right['HOTA'] == right['IDF1'] == right['MOTA'] == 1 and right['IDSW'] == 0
    fresh = measure(repo, lambda boxes, ids, frame: (boxes, ids + 1000 * frame))
    assert fresh['DetA'] == 1 and fresh['AssA'] < 0.5 and fresh['IDF1'] < 0.5 and fresh['IDSW'] > 0
    some = measure(repo, lambda boxes, ids, frame: (boxes[1:], ids[1:]))
    assert some['DetA'] < 1 and some['FN'] > 0 and some['FP'] == 0


def test_training_frames_are_pairs_of_a_sequence(repo, sequences):
    dataset = DATASETS.build(Config.fromfile(repo / STOCK).train_dataloader.dataset)
    shared = 0
    for frame in range(8):
        sample = dataset[0, frame]
        assert sample['inputs'].shape == (2, 3, 96, 96)
        key, reference = sample['data_samples'].get_key_frames()[0], sample['data_samples'].get_ref_frames()[0]
        assert key.frame_id == frame != reference.frame_id and key.img_path != reference.img_path
        shared += len({*key.gt_instances.instances_ids.tolist()} & {*reference.gt_instances.instances_ids.tolist()})
    assert shared >= 8


@pytest.mark.slow
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_trains_and_is_measured(path, run_tool, sequences, tmp_path):
    short = ('train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.logger.interval=1')
    done = run_tool('tools/train.py', path, '--work-dir', tmp_path / 'run', '--cfg-options', *short)
    assert done.returncode == 0, done.stderr[-3000:]
    (log,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    *steps, measured = map(json.loads, log.read_text().splitlines())
    assert len(steps) == 2 and all(np.isfinite(value) for step in steps for value in step.values())
    assert all(('loss_rpn_rank' in step) is ('nrpn' in path.stem) for step in steps)
    assert all(('loss_track' in step) is ('qdtrack' in path.stem) for step in steps)
    assert all(np.isfinite(measured[f'motchallenge-metric/{name}']) for name in ('HOTA', 'IDF1', 'MOTA'))


@pytest.mark.parametrize('tracker', ['qdtrack', 'bytetrack'])
def test_with_nrpn_only_the_rpn_differs(repo, tracker):
    rest = f'{tracker}_faster-rcnn_r18-w16_fpn_demo_shape-sequences.py'
    stock, ours = (Config.fromfile(repo / 'lab' / 'configs' / name) for name in (rest, f'nrpn_{rest}'))
    theirs = copy.deepcopy(ours)
    for cfg in (stock, theirs):
        del cfg.model.detector.rpn_head, cfg.model.detector.train_cfg.rpn.sampler
        cfg.pop('method', None)
    assert stock.to_dict() == theirs.to_dict()
    assert ours.model.detector.rpn_head.type == 'HardNegativeRPNHead'


@pytest.mark.parametrize('tracker', ['qdtrack', 'bytetrack'])
def test_published_it_is_a_stock_tracker(repo, tmp_path, run_tool, tracker):
    rest = f'{tracker}_faster-rcnn_r18-w16_fpn_demo_shape-sequences.py'
    stock, ours = (
        MODELS.build(Config.fromfile(repo / 'lab' / 'configs' / name).model) for name in (rest, f'nrpn_{rest}')
    )
    torch.nn.init.ones_(ours.detector.rpn_head.nrpn_head.nrpn_cls.weight)
    torch.save(dict(state_dict=ours.state_dict(), meta={}), tmp_path / 'mine.pth')
    done = run_tool('tools/fold/strip.py', tmp_path / 'mine.pth', tmp_path / 'out', '--fold', 0.5)
    assert done.returncode == 0, done.stderr
    (published,) = (tmp_path / 'out').glob('*.pth')
    stock.load_state_dict(torch.load(published)['state_dict'], strict=True)
    moved = ours.detector.rpn_head.rpn_cls.weight - stock.detector.rpn_head.rpn_cls.weight
    assert torch.allclose(moved, torch.full_like(moved, 0.5), atol=1e-6)
