"""A short training on real images. Needs VOC 2007 at VOC_ROOT and ResNet-50 weights (caffe style) at R50_CAFFE."""

import json
import math
import os
import statistics

import pytest

STEPS = 28
PARTS = ('models/rpn_r50-caffe_fpn', 'datasets/voc07', 'schedules/schedule_short', 'methods/nrpn-focal')
# small images, and a backbone that need not learn
CONFIG = """
_base_ = {bases}
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(_base_.method, backbone=dict(frozen_stages=4))
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = (256, 256)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
"""


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(
    not (os.environ.get('VOC_ROOT') and os.environ.get('R50_CAFFE')),
    reason='set VOC_ROOT (the folder that holds VOC2007/) and R50_CAFFE (a checkpoint file) to run it',
)
def test_losses_are_finite_and_fall_on_voc(run_tool, repo, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(bases=[f'{repo}/configs/nrpn/_base_/{part}.py' for part in PARTS]))
    options = [
        f'train_cfg.max_iters={STEPS}',
        'train_dataloader.batch_size=2',
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
        'default_hooks.logger.interval=1',
        'log_processor.window_size=1',
        'randomness.seed=0',
    ]
    args = [config, '--work-dir', tmp_path / 'work', '--cfg-options', *options]
    done = run_tool('tools/train.py', *args, VOC_TRAIN='train', VOC_VAL='val')
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    losses = {key: [row[key] for row in rows] for key in rows[0] if 'loss' in key}
    assert len(rows) == STEPS
    assert all(math.isfinite(value) for values in losses.values() for value in values)
    # Images differ from step to step: the median of a quarter. nRPN's loss, and the sum with it, need not fall yet:
    # what it learns, RPN's false positives, only comes up in these steps.
    quarter, falls = STEPS // 4, losses['loss_rpn_cls']
    assert statistics.median(falls[-quarter:]) < statistics.median(falls[:quarter])
