"""What trainings are combined with: each runs, and does what it does to a stock RPN."""

import json

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

pytestmark = pytest.mark.slow
CONFIG = 'configs/nrpn/paper-nrpn-overlap_r18-w16_fpn_demo_shapes.py'


def test_accumulation_ema_clipping_frozen_stages_and_a_single_image(run_tool, repo, shapes, tmp_path):
    config, work = tmp_path / 'config.py', tmp_path / 'work'
    config.write_text(
        f"""
_base_ = ['{repo / CONFIG}']
model = dict(backbone=dict(frozen_stages=2))
optim_wrapper = dict(accumulative_counts=2, clip_grad=dict(max_norm=0.5))
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.5)]
train_dataloader = dict(batch_size=1)
train_cfg = dict(max_iters=4, val_interval=4)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=-1))
param_scheduler = None
"""
    )
    done = run_tool('tools/train.py', config, '--work-dir', work, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    saved = [torch.load(work / f'iter_{i}.pth', map_location='cpu', weights_only=False) for i in (1, 2, 3, 4)]
    # EMAHook swaps: its own weights are what is saved as the model's
    own = [
        {key.removeprefix('module.'): value for key, value in checkpoint['ema_state_dict'].items()}
        for checkpoint in saved
    ]
    conv, frozen = 'bbox_head.nrpn_head.rpn_cls.weight', 'backbone.layer2.0.conv1.weight'
    conv, frozen = (next(key for key in own[0] if key.endswith(name.split('.', 1)[1])) for name in (conv, frozen))
    changed = [not torch.equal(own[i][conv], own[i + 1][conv]) for i in range(3)]
    assert changed == [True, False, True]  # a step every second image
    assert all(torch.equal(own[0][frozen], weights[frozen]) for weights in own)
    assert not torch.equal(saved[-1]['state_dict'][conv], own[-1][conv])
    (log,) = work.glob('*/vis_data/scalars.json')
    losses = [row['loss'] for row in map(json.loads, log.read_text().splitlines()) if 'loss' in row]
    assert len(losses) == 4 and all(loss < float('inf') for loss in losses)


def losses(head, loss, features, samples):
    torch.manual_seed(1)
    named = loss(features(), samples)
    sum(value.sum() for key, values in named.items() if 'loss' in key for value in values).backward()
    return named, [parameter.grad.clone() for parameter in head.parameters()]


def test_torch_compile_gives_the_same_losses_and_gradients(build_head, features, make_sample):
    """Traced and split by torch.compile, run as it is: what a backend makes of it is the backend's."""
    kinds = dict(nrpn_head=dict(type='PaperNRPNHead'), loss_cls=dict(type='OverlapLoss', use_sigmoid=True))
    plain, compiled = build_head(**kinds), build_head(**kinds)
    samples = [make_sample([[4, 4, 40, 40], [20, 10, 60, 50]]), make_sample([[8, 8, 30, 30]])]
    expected = losses(plain, plain.loss, features, samples)
    torch._dynamo.reset()
    given = losses(compiled, torch.compile(compiled.loss, backend='eager'), features, samples)
    torch.testing.assert_close(given, expected)


def test_sync_bn_finds_nothing_in_the_heads(repo):
    head = MODELS.build(Config.fromfile(repo / CONFIG).model).bbox_head
    assert torch.nn.SyncBatchNorm.convert_sync_batchnorm(head) is head
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in head.modules())
