"""What trainings are combined with: each runs, and does what it does to a stock RPN."""

import json

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config

pytestmark = pytest.mark.slow
CONFIG = 'configs/nrpn/nrpn-overlap_r18-w16_fpn_demo_shapes.py'


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


def build(repo):
    cfg = Config.fromfile(repo / CONFIG)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def losses(model, loss):
    data = model.data_preprocessor(demo_mm_inputs(2, [[3, 64, 96]] * 2, num_items=[2, 1]), True)
    torch.manual_seed(1)
    total, _ = model.parse_losses(loss(model.extract_feat(data['inputs']), data['data_samples']))
    total.backward()
    return total, [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]


def test_torch_compile_gives_the_same_losses_and_gradients(repo):
    """Traced and split by torch.compile, run as it is: what a backend makes of it is the backend's."""
    plain, compiled = build(repo), build(repo)
    expected = losses(plain, plain.bbox_head.loss)
    torch._dynamo.reset()
    given = losses(compiled, torch.compile(compiled.bbox_head.loss, backend='eager'))
    torch.testing.assert_close(given[0], expected[0])
    for one, other in zip(given[1], expected[1]):
        torch.testing.assert_close(one, other)


def test_sync_bn_finds_nothing_in_the_heads(repo):
    model = build(repo)
    head = model.bbox_head
    assert torch.nn.SyncBatchNorm.convert_sync_batchnorm(head) is head
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in head.modules())
