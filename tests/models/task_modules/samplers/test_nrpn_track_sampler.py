import copy

import pytest
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

CONFIG = 'configs/nrpn/nrpn-rank-track_qdtrack_faster-rcnn_r18-w16_fpn_demo_shape-sequences.py'


@pytest.fixture
def cfg(repo):
    return Config.fromfile(repo / CONFIG).model


@pytest.fixture
def model(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


@pytest.fixture
def planted(model, monkeypatch):
    """An nRPN whose n is 5 for the anchors of a side of 32 at the place of pixel (96, 56), and 0 elsewhere."""
    feats = [torch.zeros(1, 64, 128 // stride, 128 // stride) for stride in (4, 8, 16, 32, 64)]
    logits = [torch.zeros(1, 3, *level.shape[-2:]) for level in feats]
    logits[1][0, 1, 56 // 8, 96 // 8] = 5
    monkeypatch.setattr(model.detector.rpn_head, 'forward_nrpn', lambda x, hidden: logits)
    return model.track_head.bbox_sampler, feats


def box(x, y, width, height):
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def test_asks_the_detectors_rpn_at_the_boxs_centre_and_size(planted):
    sampler, feats = planted
    boxes = [box(96, 56, 32, 32), box(96, 56, 44, 24), box(60, 100, 32, 32), box(96, 56, 64, 64), box(4, 4, 1, 0)]
    hardness = sampler.neg_sampler.hardness_of(torch.tensor(boxes), feats)
    assert hardness[0] == hardness[1] == 5 and (hardness[2:] == 0).all()


def test_takes_logits_of_half_precision(planted, model, monkeypatch):
    """As they are under AMP, where boxes are not."""
    sampler, feats = planted
    halves = [level.half() for level in model.detector.rpn_head.forward_nrpn(feats, ())]
    monkeypatch.setattr(model.detector.rpn_head, 'forward_nrpn', lambda x, hidden: halves)
    assert sampler.neg_sampler.hardness_of(torch.tensor([box(96, 56, 32, 32)]), feats).tolist() == [5]


def test_samples_hard_proposals_beside_random_ones(planted):
    """Objects are added before the proposals, and the hardness is still that of each proposal."""
    sampler, feats = planted
    sampler.neg_sampler.pool_factor, sampler.neg_sampler.warmup = 1, 0
    generator = torch.Generator().manual_seed(0)
    easy = [box(x, y, 32, 32) for x, y in (20 + 40 * torch.rand(200, 2, generator=generator)).tolist()]
    proposals = torch.tensor(easy[:100] + [box(96, 56, 32, 32)] * 10 + easy[100:])
    objects = InstanceData(bboxes=torch.tensor([box(30.0, 110, 20, 20)] * 7), labels=torch.zeros(7).long())
    assigned = AssignResult(7, torch.zeros(210).long(), torch.zeros(210), torch.zeros(210).long())
    result = sampler.sample(assigned, InstanceData(priors=proposals), objects, feats=feats)
    assert len(result.pos_inds) == 7 and len(result.neg_inds) == 21
    is_hard = (result.neg_priors == torch.tensor(box(96, 56, 32, 32))).all(dim=1)
    assert is_hard.sum() == 10  # half of 21; at random it would be one


def test_the_rpn_is_held_once(model):
    assert model.track_head.bbox_sampler.neg_sampler.rpn_head is model.detector.rpn_head
    assert not any('track_head' in name and 'rpn' in name for name in model.state_dict())
    twin = copy.deepcopy(model)  # as EMAHook makes it
    assert twin.track_head.bbox_sampler.neg_sampler.rpn_head is twin.detector.rpn_head


def test_refuses_an_rpn_without_an_nrpn(cfg):
    cfg.detector.rpn_head.nrpn_head = None
    with pytest.raises(ValueError, match="write detector.rpn_head.type='HardNegativeRPNHead'"):
        MODELS.build(cfg)
    cfg.track_head.train_cfg = None
    MODELS.build(cfg)  # for inference


def test_asks_a_second_rpn_as_well(cfg):
    cfg.detector.rpn_head.nrpn_head = dict(type='PaperNRPNHead')
    model = MODELS.build(cfg)
    feats = [torch.rand(1, 64, 128 // stride, 128 // stride) for stride in (4, 8, 16, 32, 64)]
    hardness = model.track_head.bbox_sampler.neg_sampler.hardness_of(torch.tensor([box(64, 64, 32, 32)]), feats)
    scores = model.detector.rpn_head.nrpn_head(feats)[0][1][0, :, 64 // 8, 64 // 8]
    torch.testing.assert_close(hardness, scores.amax()[None].detach(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    'sampler', [dict(type='RandomSampler', num=64, pos_fraction=0.5), dict(neg_sampler=dict(type='RandomSampler'))]
)
def test_refuses_a_track_head_that_would_not_ask(cfg, sampler):
    cfg.track_head.train_cfg.sampler.update(sampler)
    for key in ('pos_sampler', 'neg_sampler') if sampler.get('type') else ():
        cfg.track_head.train_cfg.sampler.pop(key)
    with pytest.raises(ValueError, match="by a RandomSampler, which asks no nRPN; write neg_sampler.type='NRPNTrack"):
        MODELS.build(cfg)


def test_refuses_a_detector_without_an_rpn(cfg):
    head = dict(type='RetinaHead', num_classes=1, in_channels=64)
    cfg.detector = dict(type='RetinaNet', backbone=cfg.detector.backbone, neck=cfg.detector.neck, bbox_head=head)
    with pytest.raises(ValueError, match='detector.rpn_head has no nRPN'):
        MODELS.build(cfg)
