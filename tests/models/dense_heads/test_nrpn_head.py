import math

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from mmdet_nrpn import NRPNHead

NO_OBJECTS = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))


def four_anchors(build_head, own=None, **kwargs):
    """An nRPN on a picture of 128x32 with one level of four anchors, 32 px each, side by side."""
    return build_head(
        'NRPNHead',
        in_channels=8,
        anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[32], centers=[(16, 16)]),
        sampler=dict(num=8),
        train_cfg=dict(nrpn=own or {}),
        **kwargs,
    )


META = dict(img_shape=(32, 128), pad_shape=(32, 128))


def rpn_outs(*scores, deltas=None):
    """An RPN's outputs on the four anchors: objectness as given, boxes equal to the anchors."""
    deltas = torch.zeros(4, 4) if deltas is None else deltas
    return [torch.tensor(scores).logit().view(1, 1, 1, 4)], [deltas.T.reshape(1, 4, 1, 4)]


def test_losses_that_a_person_can_check(build_head, monkeypatch):
    # picture:  [ 0: an object, seen ][ 1: a false positive ][ 2: another ][ 3: nothing, and RPN knows ]
    head = four_anchors(build_head, loss_weight=0.5)
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.3)
    gts = InstanceData(bboxes=torch.tensor([[0.0, 0, 32, 32]]), labels=torch.zeros(1).long())
    deltas = torch.zeros(4, 4)
    deltas[2] = torch.tensor([0.25, 0.0, 0.5, 0.0])  # a box to the right of anchor 2 and wider
    # two random negatives beside the two places for true positives, of which the RPN has only one
    monkeypatch.setattr(torch, 'randint', lambda high, size, device: torch.tensor([[3, 1]]))
    x = (torch.randn(1, 8, 1, 4),)
    losses, hardness = head.loss_and_hardness(x, rpn_outs(0.9, 0.8, 0.7, 0.1, deltas=deltas), [gts], [META])
    logits, preds = head.rpn_cls(x[0]).flatten(), head.rpn_reg(x[0]).view(4, 4).T
    assert losses['nrpn_false_positives'] == 2
    torch.testing.assert_close(hardness, logits.detach()[None])
    # positive 1 and 2; negative the true positive 0 and random 3; random 1 is believed in and does not count
    terms = [-logits[1].sigmoid().log(), -logits[2].sigmoid().log()]
    terms += [-(1 - logits[i].sigmoid()).log() for i in (0, 3)]
    torch.testing.assert_close(sum(losses['loss_nrpn_cls']), 0.5 * sum(terms) / 4)
    # the box of anchor 2 is cut at the picture's right border: from 64 + 8 - 0.5 * 32 * (e^0.5 - 1) to 128
    width = 32 * math.exp(0.5)
    left, right = 64 + 24 - width / 2, min(64 + 24 + width / 2, 128)
    target = torch.tensor([((left + right) / 2 - 80) / 32, 0, math.log((right - left) / 32), 0])
    expected = preds[1].abs().sum() + (preds[2] - target).abs().sum()  # L1 loss, one anchor each
    torch.testing.assert_close(sum(losses['loss_nrpn_bbox']), 0.5 * expected / 4)


def test_ignored_objects_are_neither_positive_nor_true(build_head, monkeypatch):
    head = four_anchors(build_head)
    monkeypatch.setattr(torch, 'randint', lambda high, size, device: torch.full(size, 3))
    ignored = InstanceData(bboxes=torch.tensor([[32.0, 0, 96, 32]]))
    x = (torch.randn(1, 8, 1, 4),)
    losses, _ = head.loss_and_hardness(x, rpn_outs(0.9, 0.8, 0.7, 0.1), [NO_OBJECTS], [META], [ignored])
    logits = head.rpn_cls(x[0]).flatten()
    assert losses['nrpn_false_positives'] == 1
    # one positive; of the 4 places for negatives 2 are for true positives and stay empty, 2 random ones are anchor 3
    expected = (-logits[0].sigmoid().log() - 2 * (1 - logits[3].sigmoid()).log()) / 3
    torch.testing.assert_close(sum(losses['loss_nrpn_cls']), expected)


def test_every_anchor_of_a_mistake_is_positive_and_drawn_evenly(build_head, monkeypatch):
    """More false positives than places: each is drawn as often as any other."""
    head = four_anchors(build_head)
    head.sampler.num = 2  # one positive
    seen, counts, forward = [], torch.zeros(4), head.loss_cls.forward
    monkeypatch.setattr(head.loss_cls, 'forward', lambda pred, *a, **k: seen.append(pred[0]) or forward(pred, *a, **k))
    x = (torch.randn(1, 8, 1, 4),)
    logits = head.rpn_cls(x[0]).flatten().tolist()
    torch.manual_seed(0)
    for _ in range(1000):
        head.loss_and_hardness(x, rpn_outs(0.9, 0.8, 0.7, 0.6), [NO_OBJECTS], [META])
        counts[min(range(4), key=lambda i: abs(logits[i] - seen[-1].item()))] += 1
    # 250 +- 13.7 (binomial); 5 standard deviations
    assert (counts - 250).abs().max() < 68


@pytest.mark.parametrize('detach', [True, False])
def test_gradient_reaches_the_features_only_if_asked_and_the_rpn_never(build_head, detach):
    head = four_anchors(build_head, detach_features=detach)
    x = (torch.randn(1, 8, 1, 4, requires_grad=True),)
    outs = rpn_outs(0.9, 0.8, 0.7, 0.1)
    for tensor in (outs[0][0], outs[1][0]):
        tensor.requires_grad_()
    losses, hardness = head.loss_and_hardness(x, outs, [NO_OBJECTS], [META])
    sum(sum(losses[key]) for key in ('loss_nrpn_cls', 'loss_nrpn_bbox')).backward()
    assert (x[0].grad is None) is detach
    assert outs[0][0].grad is None and outs[1][0].grad is None and not hardness.requires_grad
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_overlap_loss_gets_the_overlap_of_anchor_and_mistake(build_head, monkeypatch):
    """Printed mode is cross entropy plus log IoU."""
    monkeypatch.setattr(torch, 'randint', lambda high, size, device: torch.full(size, 3))
    deltas, losses = torch.zeros(4, 4), []
    deltas[0, 2] = math.log(0.5)  # half as wide: IoU 1/2
    x = (torch.randn(1, 8, 1, 4),)
    for loss_cls in (dict(type='CrossEntropyLoss'), dict(type='OverlapLoss', mode='printed')):
        head = four_anchors(build_head, loss_cls=dict(use_sigmoid=True, **loss_cls))
        outs = rpn_outs(0.9, 0.1, 0.1, 0.1, deltas=deltas)
        losses.append(sum(head.loss_and_hardness(x, outs, [NO_OBJECTS], [META])[0]['loss_nrpn_cls']))
    torch.testing.assert_close(losses[1], losses[0] + math.log(0.5) / 3)  # 1 positive, 2 random negatives


def test_random_negatives_are_those_the_rpn_does_not_believe_in(build_head, monkeypatch):
    """More false positives than candidates, as at the start of a training: no anchor is both right and wrong."""
    head = four_anchors(build_head, own=dict(false_positives=dict(max_num=1)))
    monkeypatch.setattr(torch, 'randint', lambda high, size, device: torch.tensor([[2, 3]]))
    x = (torch.randn(1, 8, 1, 4),)
    losses, _ = head.loss_and_hardness(x, rpn_outs(0.9, 0.8, 0.7, 0.1), [NO_OBJECTS], [META])
    logits = head.rpn_cls(x[0]).flatten()
    expected = (-logits[0].sigmoid().log() - (1 - logits[3].sigmoid()).log()) / 2
    torch.testing.assert_close(sum(losses['loss_nrpn_cls']), expected)


def test_losses_on_decoded_boxes_compare_boxes(build_head, monkeypatch):
    monkeypatch.setattr(torch, 'randint', lambda high, size, device: torch.full(size, 3))
    head = four_anchors(build_head, reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss', loss_weight=1.0))
    torch.nn.init.zeros_(head.rpn_reg.weight)  # predicts the anchors themselves
    torch.nn.init.zeros_(head.rpn_reg.bias)
    deltas = torch.zeros(4, 4)
    deltas[0, 2] = math.log(0.5)  # half as wide as the anchor: GIoU 1/2
    losses, _ = head.loss_and_hardness(
        (torch.randn(1, 8, 1, 4),), rpn_outs(0.9, 0.1, 0.1, 0.1, deltas=deltas), [NO_OBJECTS], [META]
    )
    torch.testing.assert_close(sum(losses['loss_nrpn_bbox']), torch.tensor(0.5 / 3))  # of 3 samples


def test_anchors_may_be_box_objects(build_head):
    generator = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[32], use_box_type=True)
    head = build_head('NRPNHead', anchor_generator=generator)
    losses, _ = head.loss_and_hardness((torch.randn(1, 8, 1, 4),), rpn_outs(0.9, 0.8, 0.7, 0.1), [NO_OBJECTS], [META])
    assert losses['nrpn_false_positives'] == 3 and torch.isfinite(sum(losses['loss_nrpn_cls']))


def test_without_regression_it_only_scores(build_head):
    head = four_anchors(build_head, regress=False)
    losses, _ = head.loss_and_hardness((torch.randn(1, 8, 1, 4),), rpn_outs(0.9, 0.8, 0.7, 0.1), [NO_OBJECTS], [META])
    assert 'loss_nrpn_bbox' not in losses and set(dict(head.named_parameters())) == {'rpn_cls.weight', 'rpn_cls.bias'}


# --- with an assigner of its own


def with_assigner(**own):
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=-1)
    return dict(assigner=assigner, **own)


def test_with_an_assigner_losses_are_those_of_an_rpn_on_the_false_positives(build_head, features, make_sample):
    own = with_assigner(false_positives=dict(score_thr=0.5))
    settings = dict(shared_conv=False, loss_weight=0.25, train_cfg=dict(nrpn=own))
    nrpn, rpn = build_head('NRPNHead', **settings), build_head('RPNHead')
    rpn.load_state_dict(nrpn.state_dict())
    objectness = [torch.full((1, 3, 64 // s, 64 // s), -5.0) for s in (4, 8)]
    objectness[0][0, 1, 3, 3] = objectness[1][0, 1, 4, 5] = 3.0
    # a copy of the first mistake, which NMS takes for the same
    objectness[0][0, 1, 3, 4] = 2.0
    deltas = [torch.zeros(1, 12, 64 // s, 64 // s) for s in (4, 8)]
    deltas[0][0, 4, 3, 4] = -0.25  # one place, 4 px, to the left: where the first one is
    boxes = [[4.0, 4, 20, 20], [24, 16, 56, 48]]  # anchors of scale 4: 16 and 32 px around (12, 12) and (40, 32)
    x, empty = features(1), make_sample([])
    torch.manual_seed(1)
    losses, _ = nrpn.loss_and_hardness(x, (objectness, deltas), [empty.gt_instances], [empty.metainfo])
    torch.manual_seed(1)
    stock = rpn.loss(x, [make_sample(boxes)])
    assert losses['nrpn_false_positives'] == 3
    for ours, theirs in (('loss_nrpn_cls', 'loss_rpn_cls'), ('loss_nrpn_bbox', 'loss_rpn_bbox')):
        torch.testing.assert_close(sum(losses[ours]), 0.25 * sum(stock[theirs]))


def test_with_an_assigner_its_negatives_can_be_hard_where_the_rpn_sees_objects(build_head, features, make_sample):
    sampler = dict(type='NRPNSampler', num=64, pos_fraction=0.5, hard_fraction=0.5, pool_factor=1)
    own = with_assigner(sampler=sampler, false_positives=dict(score_thr=1.0))  # nothing is believed
    head = build_head('NRPNHead', shared_conv=False, train_cfg=dict(nrpn=own))
    maps = [torch.rand(1, 3, 64 // s, 64 // s) for s in (4, 8)]
    outs, empty = (maps, [torch.zeros(1, 12, 64 // s, 64 // s) for s in (4, 8)]), make_sample([])
    losses, _ = head.loss_and_hardness(features(1), outs, [empty.gt_instances], [empty.metainfo])
    drawn = head._raw_positive_infos['sampling_results'][0].hard_negatives
    flat = torch.cat([level.permute(0, 2, 3, 1).flatten() for level in maps])
    assert sorted(drawn.tolist()) == sorted(flat.topk(32).indices.tolist())
    assert {'nrpn_hard_neg_score', 'nrpn_random_neg_score'} <= set(losses)


# --- settings


def test_settings_fall_back_to_the_rpns(build_head):
    sampler = dict(type='NRPNSampler', num=32, pos_fraction=0.25)
    own = dict(false_positives=dict(max_num=5), assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.6, neg_iou_thr=0.4))
    rpn = build_head(sampler=sampler, train_cfg=dict(nrpn=own))
    head = rpn.nrpn_head
    assert (head.sampler.num, head.sampler.pos_fraction) == (32, 0.25)
    assert type(head.sampler).__name__ == 'RandomSampler'
    assert (head.assigner.pos_iou_thr, rpn.assigner.pos_iou_thr) == (0.6, 0.7)
    assert head.train_cfg.false_positives == dict(score_thr=0.3, iou_thr=0.3, max_num=5)


def test_a_sampler_may_be_given_in_part(build_head):
    own = dict(sampler=dict(pos_fraction=0.25))
    sampler = build_head(train_cfg=dict(nrpn=own)).nrpn_head.sampler
    assert (type(sampler).__name__, sampler.num, sampler.pos_fraction) == ('RandomSampler', 64, 0.25)
    assert build_head(train_cfg=dict(nrpn=None)).nrpn_head.sampler.pos_fraction == 0.5


def test_a_sampler_that_leaves_objects_among_the_anchors_open_does_not_add_them(build_head, head_cfg):
    cfg = head_cfg()
    del cfg.train_cfg.sampler.add_gt_as_proposals  # RandomSampler's own default is True
    assert MODELS.build(cfg).nrpn_head.sampler.add_gt_as_proposals is False


def test_under_an_rpn_that_takes_all_anchors_it_draws_mmdetections_usual_numbers(build_head, head_cfg):
    cfg = head_cfg('NRPNHead')
    cfg.train_cfg.sampler = dict(type='PseudoSampler')
    head = MODELS.build(cfg)
    assert (head.sampler.num, head.sampler.pos_fraction) == (256, 0.5)


@pytest.mark.parametrize(
    'own, words',
    [
        (dict(false_positive=dict()), r"unknown keys \['false_positive'\]"),
        (dict(false_positives=dict(score=0.5)), r"unknown keys \['score'\]"),
        (dict(false_positives=dict(score_thr=1.5)), r'score_thr must be in \[0, 1\], got 1.5'),
        (dict(false_positives=dict(iou_thr=-1)), r'iou_thr must be in \[0, 1\], got -1'),
        (dict(false_positives=dict(max_num=0)), 'max_num must be >= 1, got 0'),
        (dict(true_fraction=2), r'true_fraction must be in \[0, 1\], got 2'),
        (dict(sampler=dict(type='NRPNSampler', num=256, pos_fraction=0.5)), 'write train_cfg.rpn.nrpn.assigner'),
        (dict(sampler=dict(num=256, neg_pos_ub=3)), 'write train_cfg.rpn.nrpn.assigner'),
        (dict(pos_weight=2.0), r"\['pos_weight'\] change nothing without"),
    ],
)
def test_bad_settings_name_the_config_key(build_head, own, words):
    with pytest.raises(ValueError, match='train_cfg.rpn.nrpn.*' + words):
        build_head(train_cfg=dict(nrpn=own))


def test_an_assigner_needs_the_regression(build_head):
    with pytest.raises(ValueError, match='regress=True'):
        build_head('NRPNHead', regress=False, train_cfg=dict(nrpn=with_assigner()))


def test_a_narrower_nrpn_needs_its_own_convolution(build_head):
    with pytest.raises(ValueError, match=r'shared_conv=False, feat_channels=4'):
        build_head(nrpn_head=dict(feat_channels=4))
    assert isinstance(build_head(nrpn_head=dict(feat_channels=4, shared_conv=False)).nrpn_head, NRPNHead)


def test_false_positives_are_those_of_the_metric(build_head):
    """The function that ProposalMetric counts with, on the boxes that were mined."""
    from mmdet_nrpn.models.utils import false_positives

    head = four_anchors(build_head)
    gts = InstanceData(bboxes=torch.tensor([[20.0, 0, 60, 32]]), labels=torch.zeros(1).long())
    losses, _ = head.loss_and_hardness((torch.randn(1, 8, 1, 4),), rpn_outs(0.9, 0.8, 0.7, 0.1), [gts], [META])
    anchors = torch.tensor([[x, 0.0, x + 32, 32] for x in (0, 32, 64, 96)])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.1])
    assert losses['nrpn_false_positives'] == false_positives(anchors, scores, gts.bboxes, score_thr=0.3).sum()
    assert (bbox_overlaps(anchors, gts.bboxes)[:, 0] >= 0.3).tolist() == [False, True, False, False]
