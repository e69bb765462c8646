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
