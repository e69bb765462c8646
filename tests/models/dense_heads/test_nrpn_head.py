import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from mmdet_nrpn import NRPNHead

ANY = torch.zeros(1, 3 * (16 * 16 + 8 * 8))  # RPN's objectness where it makes no difference


def three_anchors(build_head, **kwargs):
    """An nRPN on a picture of 96x32 with one level of three anchors, 32 px each, side by side."""
    kwargs = dict(
        in_channels=8,
        anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[32], centers=[(16, 16)]),
        **kwargs,
    )
    return build_head('NRPNHead', sampler=dict(num=8), **kwargs)


def proposals(*rows):
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    return InstanceData(bboxes=table[:, :4], scores=table[:, 4])


def test_targets_that_a_person_can_check(build_head, monkeypatch):
    # picture:   [ anchor 0: an object ][ anchor 1: a false positive ][ anchor 2: nothing ]
    head = three_anchors(build_head)
    gts = InstanceData(bboxes=torch.tensor([[0.0, 0, 32, 32]]), labels=torch.zeros(1).long())
    mined = proposals(
        [0, 0, 32, 32, 0.9],  # on the object: no false positive
        [32, 0, 64, 32, 0.8],  # the false positive
        [64, 0, 96, 32, 0.1],  # score below 0.3: not believed, so no false positive
    )
    seen = {}
    stock = NRPNHead.get_targets

    def spy(self, *args, **kwargs):
        seen['targets'] = stock(self, *args, **kwargs)
        return seen['targets']

    monkeypatch.setattr(NRPNHead, 'get_targets', spy)
    meta = dict(img_shape=(32, 96), pad_shape=(32, 96))
    losses, hardness = head.loss_and_hardness((torch.randn(1, 8, 1, 3),), [mined], torch.zeros(1, 3), [gts], [meta])
    labels, label_weights, bbox_targets, bbox_weights, avg_factor = seen['targets']
    assert labels[0].tolist() == [[1, 0, 1]]  # 0: what nRPN looks for; the object is background to it
    assert label_weights[0].tolist() == [[1, 1, 1]]
    assert bbox_targets[0].abs().sum() == 0  # the anchor is the false positive
    assert bbox_weights[0][0, :, 0].tolist() == [0, 1, 0]
    assert avg_factor == 3
    assert losses['nrpn_false_positives'] == 1
    assert hardness.shape == (1, 3) and not hardness.requires_grad


def test_losses_are_those_of_an_rpn_on_the_false_positives(build_head, features, make_sample):
    nrpn, rpn = build_head('NRPNHead', detach_features=False, loss_weight=0.25), build_head('RPNHead')
    rpn.load_state_dict(nrpn.state_dict())
    x, boxes = features(1), [[8.0, 8, 24, 24], [40, 40, 60, 60]]
    mined = proposals(*[[*box, 0.9] for box in boxes])
    no_objects = make_sample([])
    torch.manual_seed(1)
    losses, _ = nrpn.loss_and_hardness(x, [mined], ANY, [no_objects.gt_instances], [no_objects.metainfo])
    torch.manual_seed(1)
    stock = rpn.loss(x, [make_sample(boxes)])
    for ours, theirs in (('loss_nrpn_cls', 'loss_rpn_cls'), ('loss_nrpn_bbox', 'loss_rpn_bbox')):
        torch.testing.assert_close(sum(losses[ours]), 0.25 * sum(stock[theirs]))


@pytest.mark.parametrize('detach', [True, False])
def test_gradient_reaches_the_features_only_if_asked_and_the_rpn_never(build_head, features, make_sample, detach):
    head = build_head('NRPNHead', detach_features=detach)
    x = features(1, requires_grad=True)
    mined = proposals([8, 8, 24, 24, 0.9])
    for tensor in (mined.bboxes, mined.scores):
        tensor.requires_grad_()
    sample = make_sample([])
    losses, _ = head.loss_and_hardness(x, [mined], ANY, [sample.gt_instances], [sample.metainfo])
    sum(sum(losses[key]) for key in ('loss_nrpn_cls', 'loss_nrpn_bbox')).backward()
    assert all((level.grad is None) is detach for level in x)
    assert mined.bboxes.grad is None and mined.scores.grad is None
    assert all(p.grad is not None for p in head.parameters())


def test_overlap_loss_gets_overlaps_under_the_nrpn_too(build_head, features, make_sample):
    """Printed mode is cross entropy plus log IoU: lower by the mean of -log IoU over the sampled."""
    sample, mined = make_sample([]), proposals([8.0, 8, 25, 26, 0.9])
    losses = []
    for loss_cls in (dict(type='CrossEntropyLoss'), dict(type='OverlapLoss', mode='printed')):
        head = build_head('NRPNHead', loss_cls=dict(use_sigmoid=True, **loss_cls))
        torch.manual_seed(2)
        result, _ = head.loss_and_hardness(features(1), [mined], ANY, [sample.gt_instances], [sample.metainfo])
        losses.append(sum(result['loss_nrpn_cls']))
    drawn = head._raw_positive_infos['sampling_results'][0]
    ious = bbox_overlaps(drawn.pos_priors, mined.bboxes)[:, 0]
    assert (ious < 1).all() and len(ious) > 0
    torch.testing.assert_close(losses[1], losses[0] + ious.log().sum() / drawn.avg_factor)


def test_its_negatives_can_be_hard_where_the_rpn_sees_objects(build_head, features, make_sample):
    sampler = dict(type='NRPNSampler', hard_fraction=0.5, pool_factor=1)
    head = build_head('NRPNHead', train_cfg=dict(nrpn=dict(sampler=sampler)))
    objectness = torch.rand(ANY.shape)
    sample = make_sample([])
    nothing = proposals()
    losses, _ = head.loss_and_hardness(features(1), [nothing], objectness, [sample.gt_instances], [sample.metainfo])
    drawn = head._raw_positive_infos['sampling_results'][0].hard_negatives
    assert sorted(drawn.tolist()) == sorted(objectness[0].topk(32).indices.tolist())
    assert {'nrpn_hard_neg_score', 'nrpn_random_neg_score'} <= set(losses)


def test_mining_settings_fall_back_to_the_rpns(build_head):
    sampler = dict(type='NRPNSampler', num=32, pos_fraction=0.25)
    own = dict(false_positives=dict(max_num=5), assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.6, neg_iou_thr=0.4))
    rpn = build_head(sampler=sampler, train_cfg=dict(nrpn=own))
    head = rpn.nrpn_head
    assert (head.sampler.num, head.sampler.pos_fraction) == (32, 0.25)
    assert type(head.sampler).__name__ == 'RandomSampler'
    assert (head.assigner.pos_iou_thr, rpn.assigner.pos_iou_thr) == (0.6, 0.7)
    assert head.fp_cfg == dict(score_thr=0.3, iou_thr=0.3, max_num=5)


@pytest.mark.parametrize(
    'own, words',
    [
        (dict(false_positive=dict()), r"unknown keys \['false_positive'\]"),
        (dict(false_positives=dict(score=0.5)), r"unknown keys \['score'\]"),
        (dict(false_positives=dict(score_thr=1.5)), r'score_thr must be in \[0, 1\], got 1.5'),
        (dict(false_positives=dict(iou_thr=-1)), r'iou_thr must be in \[0, 1\], got -1'),
        (dict(false_positives=dict(max_num=0)), 'max_num must be >= 1 or None, got 0'),
    ],
)
def test_bad_settings_name_the_config_key(build_head, own, words):
    with pytest.raises(ValueError, match='train_cfg.rpn.nrpn.*' + words):
        build_head(train_cfg=dict(nrpn=own))
