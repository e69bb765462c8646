"""A short training on real pictures. Needs VOC 2007 at VOC_ROOT and ResNet-50 weights (caffe style) at R50_CAFFE."""

import json
import math
import os
import statistics

import pytest

STEPS = 40


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(
    not (os.environ.get('VOC_ROOT') and os.environ.get('R50_CAFFE')),
    reason='set VOC_ROOT (the folder that holds VOC2007/) and R50_CAFFE (a checkpoint file) to run it',
)
@pytest.mark.parametrize('method', ['rpn', 'nrpn-overlap'])
def test_losses_are_finite_and_fall_on_voc(run_tool, repo, tmp_path, method):
    config = tmp_path / 'config.py'
    base = repo / 'configs' / 'nrpn' / f'{method}_r50-caffe_fpn_1x_voc07.py'
    config.write_text(
        f"""
_base_ = ['{base}']
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters={STEPS}, val_interval={STEPS})
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10)]
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_dataloader = dict(num_workers=1, sampler=dict(type='InfiniteSampler'))
train_dataloader['dataset'] = dict(pipeline={{{{_base_.train_pipeline}}}})
train_dataloader['dataset']['pipeline'][2]['scale'] = (256, 160)
val_cfg = val_dataloader = val_evaluator = None
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(by_epoch=False, interval=STEPS))
log_processor = dict(by_epoch=False, window_size=1)
randomness = dict(seed=0)
""".replace('STEPS', str(STEPS))
    )
    done = run_tool('tools/train.py', config, '--work-dir', tmp_path / 'work', VOC_TRAIN='train', VOC_VAL='val')
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    losses = {key: [row[key] for row in rows] for key in rows[0] if 'loss' in key}
    assert len(rows) == STEPS
    assert all(math.isfinite(value) for values in losses.values() for value in values)
    # pictures differ from step to step: the median of a quarter
    for key in ('loss_rpn_cls',) + (('loss_nrpn_cls',) if method.startswith('nrpn') else ()):
        quarter = STEPS // 4
        assert statistics.median(losses[key][-quarter:]) < statistics.median(losses[key][:quarter]), key
