"""Ground truth in a real test loop. A detector that proposes each object exactly has a recall of 1 and no false
positive, whatever the test pipeline does to the image and its annotations.
"""

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmdet.structures.bbox import bbox_flip
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmdet_nrpn import ProposalMetric
from mmdet_nrpn.evaluation import GroundTruth

LOAD, ANNOTATIONS = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)
RESIZE = dict(type='Resize', scale=(300, 200), keep_ratio=False)
FLIP, PACK = dict(type='RandomFlip', prob=1.0), dict(type='PackDetInputs')
STOCK_PACK = dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
TTA = dict(type='TestTimeAug', transforms=[[FLIP, dict(type='RandomFlip', prob=0.0)], [PACK]])
MULTI_SCALE = dict(
    type='TestTimeAug',
    transforms=[[RESIZE, dict(RESIZE, scale=(150, 100))], [ANNOTATIONS], [FLIP, dict(FLIP, prob=0.0)], [PACK]],
)


CENTERNETS_PAD = dict(
    type='RandomCenterCropPad', ratios=None, border=None, mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True, test_mode=True,
    test_pad_mode=('logical_or', 31),
)  # fmt: skip
CROP = dict(type='CenterCrop', crop_size=(100, 60))
ROTATE = dict(type='Rotate', prob=1.0, min_mag=30.0, max_mag=30.0)


@TRANSFORMS.register_module()
class CropOfAProject(BaseTransform):
    def transform(self, results):
        results['img'] = results['img'][20:80, 30:130]
        results['img_shape'] = results['img'].shape[:2]
        return results


@MODELS.register_module()
class ExactProposals(BaseModel):
    """Proposes what the annotations say, in pixels of the original image; flipped where its input was."""

    def __init__(self, bboxes, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.bboxes = bboxes

    def forward(self, inputs, data_samples, mode):
        assert mode == 'predict'
        for sample in data_samples:
            bboxes = torch.tensor(self.bboxes[sample.img_path], dtype=torch.float32).reshape(-1, 4)
            if sample.get('flip'):
                bboxes = bbox_flip(bboxes, sample.ori_shape, sample.flip_direction)
            num = len(bboxes)
            sample.pred_instances = InstanceData(
                bboxes=bboxes, scores=torch.linspace(1, 0.5, num), labels=torch.zeros(num, dtype=torch.long)
            )
        return data_samples


@pytest.fixture
def dataset_cfg(repo, shapes):
    dataset = Config.fromfile(repo / 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py').val_dataloader.dataset
    return dict(dataset.to_dict(), data_root=f'{shapes}/')


def annotated(dataset):
    return [
        (info, np.array([i['bbox'] for i in info['instances'] if not i['ignore_flag']], dtype=float).reshape(-1, 4))
        for info in (dataset.get_data_info(i) for i in range(len(dataset)))
    ]


def run_test_loop(*args, **kwargs):
    return make_runner(*args, **kwargs).test()


def make_runner(dataset_cfg, folder, tta=False):
    dataset = DATASETS.build(dataset_cfg)
    bboxes = {info['img_path']: boxes.tolist() for info, boxes in annotated(dataset)}
    model = dict(type='ExactProposals', bboxes=bboxes, data_preprocessor=dict(type='DetDataPreprocessor'))
    if tta:
        tta_cfg = ConfigDict(nms=dict(type='nms', iou_threshold=0.9), max_per_img=100)
        model = dict(type='DetTTAModel', tta_cfg=tta_cfg, module=model)
    loader = dict(batch_size=3, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset_cfg)
    return Runner(
        model=model,
        work_dir=str(folder),
        test_dataloader=loader,
        test_cfg=dict(type='TestLoop'),
        test_evaluator=[
            dict(type='ProposalMetric', proposal_nums=[100]),
            dict(type='FROCMetric', class_agnostic=True, iou_thrs=0.95),
        ],
        default_scope='mmdet',
        experiment_name=str(folder),
    )


def is_exact(metrics):
    assert metrics.get('froc/mean_recall', 1) == 1 and metrics.get('froc/FPPI@0.9', 0) == 0
    return metrics['proposal/AR@100'] == 1 and metrics['proposal/FP@100'] == 0


def test_the_table_is_in_the_log_of_the_runner_that_tests(dataset_cfg, tmp_path):
    """MMEngine's current logger is that of the runner created last."""
    folders = [tmp_path / 'first', tmp_path / 'second']
    runners = [make_runner(dict(dataset_cfg, pipeline=[LOAD, RESIZE, PACK]), folder) for folder in folders]
    runners[0].test()
    logs = [next(folder.glob('*/*.log')).read_text() for folder in folders]
    assert ['AR_s' in log.replace('proposal/AR_s', '') for log in logs] == [True, False]


@pytest.mark.parametrize(
    'pipeline',
    [
        [LOAD, RESIZE, ANNOTATIONS, PACK],
        [LOAD, RESIZE, ANNOTATIONS, STOCK_PACK],
        [LOAD, ANNOTATIONS, RESIZE, PACK],
        [LOAD, ANNOTATIONS, RESIZE, STOCK_PACK],
        [LOAD, ANNOTATIONS, RESIZE, dict(type='Pad', size_divisor=64), PACK],
        [LOAD, RESIZE, PACK],
        [LOAD, ANNOTATIONS, dict(type='FilterAnnotations', min_gt_bbox_wh=(20, 20), keep_empty=False), RESIZE, PACK],
        [LOAD, ANNOTATIONS, PACK],
        [LOAD, dict(RESIZE, scale=(90, 60)), dict(type='PackDetInputs', meta_keys=('img_path', 'img_shape'))],
        [dict(LOAD, to_float32=True), CENTERNETS_PAD, ANNOTATIONS, STOCK_PACK],
    ],
)
def test_resizing_does_not_matter(dataset_cfg, tmp_path, pipeline):
    assert is_exact(run_test_loop(dict(dataset_cfg, pipeline=pipeline), tmp_path))


@pytest.mark.parametrize(
    'pipeline',
    [
        [LOAD, RESIZE, ANNOTATIONS, TTA],
        [LOAD, ANNOTATIONS, RESIZE, TTA],
        [LOAD, RESIZE, TTA],
        [LOAD, MULTI_SCALE],
        [LOAD, RESIZE, dict(TTA, transforms=[[FLIP], [ANNOTATIONS], [PACK]])],
    ],
)
def test_test_time_augmentation_does_not_matter(dataset_cfg, tmp_path, pipeline):
    assert is_exact(run_test_loop(dict(dataset_cfg, pipeline=pipeline), tmp_path, tta=True))


def test_a_view_that_is_not_moved_back_is_refused(dataset_cfg, tmp_path):
    views = dict(TTA, transforms=[[ROTATE, dict(ROTATE, prob=0.0)], [FLIP, dict(FLIP, prob=0.0)], [PACK]])
    with pytest.raises(ValueError, match='crops or moves it .*Rotate'):
        run_test_loop(dict(dataset_cfg, pipeline=[LOAD, RESIZE, views]), tmp_path, tta=True)


@pytest.mark.parametrize(
    'pipeline',
    [
        [LOAD, RESIZE, ANNOTATIONS, FLIP, PACK],
        [LOAD, RESIZE, FLIP, ANNOTATIONS, PACK],
        [LOAD, RESIZE, ANNOTATIONS, FLIP, STOCK_PACK],
        [LOAD, ANNOTATIONS, RESIZE, FLIP, STOCK_PACK],
        [LOAD, RESIZE, FLIP, ANNOTATIONS, STOCK_PACK],
        [LOAD, ANNOTATIONS, dict(type='RandomShift', prob=1.0, max_shift_px=30), PACK],
        [LOAD, RESIZE, CROP, ANNOTATIONS, PACK],
        [LOAD, RESIZE, CROP, PACK],
        [LOAD, RESIZE, ROTATE, PACK],
        [LOAD, dict(type='RandomApply', transforms=[CROP], prob=1.0), dict(type='Pad', size=(256, 256)), PACK],
        [LOAD, RESIZE, dict(type='RandomChoice', transforms=[[ROTATE], [FLIP]]), PACK],
        [LOAD, RESIZE, dict(type='CropOfAProject'), PACK],
        [LOAD, dict(type='RandomChoice', transforms=[[FLIP]]), STOCK_PACK],
    ],
)
def test_proposals_of_another_place_are_refused(dataset_cfg, tmp_path, pipeline):
    with pytest.raises(ValueError, match='ProposalMetric: image .*(take RandomFlip out|take that transform out)'):
        run_test_loop(dict(dataset_cfg, pipeline=pipeline), tmp_path)


def test_wrapped_datasets_and_two_folders_with_images_of_the_same_name(dataset_cfg, tmp_path, shapes):
    """The second folder has the images of the first by name, with other objects."""
    other = tmp_path / 'other'
    for kind in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (other / kind).mkdir(parents=True)
    names = (shapes / 'ImageSets/Main/val.txt').read_text().split()
    (other / 'ImageSets/Main/val.txt').write_text('\n'.join(names))
    for name, source in zip(names, reversed(names)):
        (image,) = (shapes / 'JPEGImages').glob(f'{source}.*')
        (other / f'JPEGImages/{name}{image.suffix}').write_bytes(image.read_bytes())
        (other / f'Annotations/{name}.xml').write_text((shapes / f'Annotations/{source}.xml').read_text())
    pipeline = [LOAD, ANNOTATIONS, RESIZE, STOCK_PACK]
    cfg = dict(dataset_cfg, pipeline=pipeline)
    both = dict(type='ConcatDataset', datasets=[cfg, dict(cfg, data_root=f'{other}/')])
    assert is_exact(run_test_loop(both, tmp_path / 'concat'))
    assert is_exact(run_test_loop(dict(type='RepeatDataset', times=2, dataset=cfg), tmp_path / 'repeat'))
    rotated = dict(cfg, pipeline=[LOAD, RESIZE, ROTATE, STOCK_PACK])
    for wrapped in (dict(both, datasets=[cfg, rotated]), dict(type='RepeatDataset', times=2, dataset=rotated)):
        with pytest.raises(ValueError, match=r'crops or moves it \(Rotate\)'):
            run_test_loop(wrapped, tmp_path / f'rotated_{wrapped["type"]}')
    without_path = dict(STOCK_PACK, meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor'))
    for one in both['datasets']:
        one['pipeline'] = [LOAD, ANNOTATIONS, RESIZE, without_path]
    sample = DATASETS.build(both)[0]['data_samples'].to_dict()
    with pytest.raises(ValueError, match="put 'img_id', 'img_path' into the meta_keys"):
        GroundTruth(DATASETS.build(both))(sample)


def sample_of(dataset_cfg, *pipeline):
    return DATASETS.build(dict(dataset_cfg, pipeline=list(pipeline)))[0]['data_samples'].to_dict()


def test_a_sample_alone(dataset_cfg):
    """Outside of a loop, where only the sample tells."""
    ground_truth = GroundTruth()
    (_, expected), *_ = annotated(DATASETS.build(dataset_cfg))
    np.testing.assert_array_equal(ground_truth(sample_of(dataset_cfg, LOAD, ANNOTATIONS, PACK))[0], expected)
    with_instances = dict(PACK, meta_keys=('img_path', 'scale_factor', 'instances'))
    for order in ([ANNOTATIONS, RESIZE], [RESIZE, ANNOTATIONS]):
        sample = sample_of(dataset_cfg, LOAD, *order, with_instances)
        np.testing.assert_array_equal(ground_truth(sample)[0], expected)
        with pytest.raises(ValueError, match="put 'instances' into the meta_keys of PackDetInputs"):
            ground_truth(sample_of(dataset_cfg, LOAD, *order, PACK))
    with pytest.raises(ValueError, match=r"no ground truth in the samples; put dict\(type='LoadAnnotations'"):
        ground_truth(sample_of(dataset_cfg, LOAD, PACK))
    with pytest.raises(ValueError, match='no ground truth in the samples'):
        ground_truth({})
    with pytest.raises(ValueError, match='take RandomFlip out, or test with --tta'):
        ground_truth(sample_of(dataset_cfg, LOAD, ANNOTATIONS, FLIP, PACK))


def test_a_metric_outside_of_a_loop_is_given_the_data_set(dataset_cfg):
    sample = sample_of(dataset_cfg, LOAD, ANNOTATIONS, RESIZE, PACK)
    dataset = DATASETS.build(dataset_cfg)
    bboxes = torch.from_numpy(annotated(dataset)[0][1])
    sample['pred_instances'] = dict(bboxes=bboxes, scores=torch.ones(len(bboxes)))
    metric = ProposalMetric(proposal_nums=100)
    with pytest.raises(ValueError, match="ProposalMetric: image .*put 'instances' into the meta_keys"):
        metric.process(None, [sample])
    metric.ground_truth = GroundTruth(dataset)
    metric.process(None, [sample])
    assert is_exact(metric.evaluate(1))
