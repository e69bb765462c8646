import runpy

import torch
from mmdet.registry import MODELS
from mmengine.config import Config

CONFIG = """
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py']
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64]),
)
"""

# the lines of the README
INSIDE = """
_base_ = ['./faster.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(type='RPN')
test_evaluator = dict(_delete_=True, type='ProposalMetric')
"""


def test_the_rpn_inside_a_faster_rcnn_is_measured_as_it_is(tmp_path):
    (tmp_path / 'faster.py').write_text(CONFIG)
    (tmp_path / 'inside.py').write_text(INSIDE)
    faster = MODELS.build(Config.fromfile(tmp_path / 'faster.py').model).eval()
    cfg = Config.fromfile(tmp_path / 'inside.py')
    rpn = MODELS.build(cfg.model).eval()
    missing, unexpected = rpn.load_state_dict(faster.state_dict(), strict=False)
    assert not missing and all(key.startswith('roi_head') for key in unexpected)
    x = faster.extract_feat(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    for ours, theirs in zip(rpn.bbox_head(x), faster.rpn_head(x)):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
    assert cfg.test_evaluator == dict(type='ProposalMetric')


def test_two_detectors_are_measured_with_each_others_proposals(repo, shapes, tmp_path, monkeypatch):
    """Detectors of one kind with the same second stage, and one RPN that is another."""
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')
    swap = runpy.run_path(str(repo / '.dev_scripts' / 'swap_proposals.py'))['measure']
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / 'faster-rcnn_r18-w16_fpn_demo_semi-shapes.py')
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight, std=1.0)
    torch.save(model.state_dict(), tmp_path / 'one.pth')
    torch.nn.init.normal_(model.rpn_head.rpn_cls.weight, std=1.0)
    torch.save(model.state_dict(), tmp_path / 'other.pth')
    found = swap([cfg, cfg], [tmp_path / 'one.pth', tmp_path / 'other.pth'])
    assert found[0, 0] == found[0, 1] and found[1, 0] == found[1, 1] and found[0, 0] != found[1, 1]


def test_a_detached_rpn_learns_and_the_features_do_not(repo, build_head, features, make_sample):
    detached = runpy.run_path(str(repo / '.dev_scripts' / 'train_detached.py'))['detached']
    samples = [make_sample([[8, 8, 40, 40]]) for _ in range(2)]
    learnt = []
    for change in (lambda method: method, detached):
        head, x = build_head(), features(requires_grad=True)
        torch.manual_seed(0)
        losses, _ = change(type(head).loss_and_predict)(head, x, samples)
        sum(sum(value) for name, value in losses.items() if 'loss' in name).backward()
        assert all((level.grad is None) == (change is detached) for level in x)
        learnt.append(torch.cat([parameter.grad.flatten() for parameter in head.parameters()]))
    assert learnt[0].any() and torch.equal(*learnt)
