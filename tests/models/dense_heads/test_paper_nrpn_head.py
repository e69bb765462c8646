import pytest
import torch
from mmdet.models.task_modules import MaxIoUAssigner
from mmdet.registry import MODELS
from mmengine.structures import InstanceData

from mmdet_nrpn.utils import mine_candidates

PAPER = dict(nrpn_head=dict(type='PaperNRPNHead'))


def test_its_losses_are_those_of_an_rpn_on_the_false_positives_after_nms(build_head, features, make_sample):
    head = build_head(**PAPER, sampler=dict(type='NRPNSampler', hard_fraction=0.5))
    rpn = build_head('RPNHead')
    torch.manual_seed(3)
    head.nrpn_head.init_weights()
    rpn.load_state_dict(head.nrpn_head.state_dict())
    objectness = [torch.full((1, 3, 64 // s, 64 // s), -5.0) for s in (4, 8)]
    objectness[0][0, 1, 3, 3] = objectness[1][0, 1, 4, 5] = 3.0
    # a copy of the first mistake, which NMS takes for the same
    objectness[0][0, 1, 3, 4] = 2.0
    deltas = [torch.zeros(1, 12, 64 // s, 64 // s) for s in (4, 8)]
    deltas[0][0, 4, 3, 4] = -0.25  # one place, 4 px, to the left: where the first one is
    mistakes = [[4.0, 4, 20, 20], [24, 16, 56, 48]]  # anchors of scale 4: 16 and 32 px around (12, 12) and (40, 32)
    sample = make_sample([])
    logits, bbox_preds = (
        torch.cat([level.permute(0, 2, 3, 1).reshape(1, -1, size) for level in levels], dim=1)
        for levels, size in ((objectness, 1), (deltas, 4))
    )
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    valid = torch.ones(1, len(anchors), dtype=torch.bool)
    mined = mine_candidates(
        logits[..., 0], bbox_preds, anchors, valid, head.bbox_coder, [sample.gt_instances], [sample.metainfo], max_num=3
    )
    x = tuple(level.requires_grad_() for level in features(1))
    torch.manual_seed(1)
    losses, hardness = head.nrpn_head.loss_and_hardness(x, (), mined, [sample.metainfo])
    torch.manual_seed(1)
    stock = rpn.loss(features(1), [make_sample(mistakes)])
    assert mined.is_false.sum() == 3
    for ours, theirs in (('loss_nrpn_cls', 'loss_rpn_cls'), ('loss_nrpn_bbox', 'loss_rpn_bbox')):
        for level, expected in zip(losses[ours], stock[theirs]):
            torch.testing.assert_close(level, expected)
    scores = torch.cat([level.permute(0, 2, 3, 1).flatten(1) for level in rpn(features(1))[0]], dim=1)
    torch.testing.assert_close(hardness, scores.detach())
    sum(sum(value) for value in losses.values()).backward()
    assert all(level.grad is None for level in x) and not hardness.requires_grad


def test_it_is_a_second_rpn_with_a_convolution_of_its_own(build_head):
    head = build_head(**PAPER)
    nrpn = head.nrpn_head
    assert {name.split('.')[0] for name, _ in nrpn.named_parameters()} == {'rpn_conv', 'rpn_cls', 'rpn_reg'}
    assert not any(p is q for p in nrpn.parameters() for q in head.rpn_conv.parameters())
    assert nrpn.rpn_reg.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert (nrpn.assigner.pos_iou_thr, nrpn.sampler.num) == (head.assigner.pos_iou_thr, head.sampler.num)


def test_its_own_settings_take_the_place_of_the_rpns(build_head, head_cfg):
    own = dict(type='PaperNRPNHead', feat_channels=4, train_cfg=dict(head_cfg().train_cfg, sampler=None))
    head = build_head(nrpn_head=own)
    assert (head.nrpn_head.feat_channels, head.feat_channels) == (4, 8)
    assert type(head.nrpn_head.sampler).__name__ == 'PseudoSampler'


@pytest.mark.parametrize(
    'own',
    [
        dict(sampler=dict(type='RandomSampler', num=8, pos_fraction=0.5, add_gt_as_proposals=False)),
        dict(),
        dict(allowed_border=0),
        dict(pos_weight=2.0),
        dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.6, neg_iou_thr=0.2)),
    ],
)
def test_what_its_train_cfg_leaves_out_is_the_rpns(build_head, head_cfg, features, make_sample, own):
    nrpn_head = dict(type='PaperNRPNHead', train_cfg=own)
    head = build_head(nrpn_head=nrpn_head)
    assert head.nrpn_head.train_cfg == {**head.train_cfg, **own}
    losses = head.loss(features(), [make_sample([[8.0, 8, 24, 24]]), make_sample([])])
    assert all(torch.isfinite(torch.stack(losses[name])).all() for name in ('loss_nrpn_cls', 'loss_nrpn_bbox'))
    assert MODELS.build({**head_cfg(nrpn_head=nrpn_head), 'train_cfg': None}).nrpn_head is None


@pytest.mark.parametrize('max_objects', [64, 5])
def test_its_objects_are_the_best_false_positives(build_head, max_objects):
    """Of 3000 boxes of 32 px in a large image: more than NMS leaves, and more than there may be."""
    nrpn = build_head(nrpn_head=dict(type='PaperNRPNHead', max_objects=max_objects)).nrpn_head
    corners = torch.rand(3000, 2, generator=torch.Generator().manual_seed(0)) * 2000
    bboxes, logits = torch.cat([corners, corners + 32], dim=1), torch.randn(3000)
    is_false = torch.arange(3000) % 2 == 0
    objects = nrpn._as_objects(bboxes, logits, is_false)
    assert isinstance(objects, InstanceData) and len(objects) == max_objects
    best = logits.masked_fill(~is_false, -torch.inf).argmax()
    assert torch.equal(objects.bboxes[0], bboxes[best])


@pytest.mark.parametrize(
    'kwargs', [dict(max_num=0), dict(iou_thr=0), dict(iou_thr=2), dict(nms_iou_thr=-1), dict(max_objects=1.5)]
)
def test_bad_settings_name_the_config_key(build_head, kwargs):
    ((key, value),) = kwargs.items()
    with pytest.raises(ValueError, match=f'rpn_head.nrpn_head.{key} must be .* got .*{value}'):
        build_head(nrpn_head=dict(type='PaperNRPNHead', **kwargs))


class MaskAssigner(MaxIoUAssigner):
    """Reads masks, which false positives do not have."""

    def assign(self, pred_instances, gt_instances, gt_instances_ignore=None, **kwargs):
        assert len(gt_instances.masks) == len(gt_instances)
        return super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)


def test_an_assigner_that_needs_more_than_boxes_is_told_whose_it_is(build_head, features, make_sample):
    train_cfg = dict(assigner=dict(type=MaskAssigner, pos_iou_thr=0.7, neg_iou_thr=0.3))
    sample = make_sample([[8.0, 8, 24, 24]])
    sample.gt_instances.masks = ['any']
    words = 'its assigner MaskAssigner .* reads objects.masks, .* write nrpn_head.train_cfg.assigner=dict'
    with pytest.raises(ValueError, match=words):
        build_head(**PAPER, train_cfg=train_cfg).loss(features(1), [sample])
    own = dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3))
    head = build_head(nrpn_head=dict(type='PaperNRPNHead', train_cfg=own), train_cfg=train_cfg)
    assert 'loss_nrpn_cls' in head.loss(features(1), [sample])


def test_other_faults_of_an_assigner_are_its_own(build_head, features, make_sample, monkeypatch):
    head = build_head(**PAPER)
    monkeypatch.delattr(head.nrpn_head.assigner, 'pos_iou_thr')
    with pytest.raises(AttributeError, match='pos_iou_thr'):
        head.loss(features(1), [make_sample([[8.0, 8, 24, 24]])])
