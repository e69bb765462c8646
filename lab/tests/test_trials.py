import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from torch import nn

from lab.trials import BatchRankLoss, GradedNRPNHead, RankWeightSchedule
from mmdet_nrpn import NRPNHead
from mmdet_nrpn.models.losses import HardNegativeRankLoss
from mmdet_nrpn.utils import Candidates, objectness_logits

OBJECTS = [[4.0, 4, 40, 36], [30.0, 20, 62, 60]]


@pytest.fixture
def head_on_all_anchors(build_head):
    def build(**kwargs):
        head = build_head(sampler=dict(type='RandomSampler', num=10**6, pos_fraction=0.5), **kwargs)
        for p in head.parameters():
            torch.nn.init.normal_(p, std=0.3)
        return head

    return build


def test_the_quality_of_a_positive_is_the_iou_of_its_decoded_box(head_on_all_anchors, features, make_sample):
    loss = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0)
    head = head_on_all_anchors(type='QualityFocalRPNHead', nrpn_head=None, loss_cls=loss)
    targets = []
    head.loss_cls.forward = lambda pred, target, *args, **kwargs: targets.append(target) or pred.sum() * 0
    head.loss(features(1), [make_sample(OBJECTS)])
    labels, qualities = (torch.cat(parts) for parts in zip(*targets))
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    deltas = torch.cat([level.permute(0, 2, 3, 1).reshape(-1, 4) for level in head(features(1))[1]])
    boxes = head.bbox_coder.decode(anchors, deltas)
    (result,) = head.sampling_results
    assert len(result.pos_inds) > 2 and (labels == 0).sum() == len(result.pos_inds)
    for anchor, gt in zip(result.pos_inds, result.pos_assigned_gt_inds):
        expected = bbox_overlaps(boxes[anchor][None], torch.tensor(OBJECTS)[gt][None]).item()
        assert qualities[anchor].item() == pytest.approx(expected, abs=1e-5)


def test_a_graded_target_is_half_way_at_an_iou_of_0_725():
    ious = torch.tensor([[0.95, 0.725, 0.5, 0.1]])
    head = GradedNRPNHead(feat_channels=1, num_base_priors=1)
    head.init_weights()
    head.ious = ious
    mined = Candidates(torch.arange(4)[None], torch.zeros(1, 4, 4), torch.zeros(1, 4), ious < 0.3, ious >= 0.3)
    hidden = (torch.ones(1, 1, 1, 4),)
    losses, _ = head.loss_and_hardness((), hidden, mined, [])
    sum(losses['loss_nrpn_cls']).backward()
    # of a logit of 0, the gradient on n is target - 1/2
    assert head.nrpn_cls.bias.grad.item() == pytest.approx((0.5 + 0 - 0.5 - 0.5) / 4)
    plain = NRPNHead(feat_channels=1, num_base_priors=1)
    plain.init_weights()
    sum(plain.loss_and_hardness((), hidden, mined, [])[0]['loss_nrpn_cls']).backward()
    assert plain.nrpn_cls.bias.grad.item() == pytest.approx((0.5 + 0.5 + 0.5 - 0.5) / 4)


def test_a_graded_head_learns_from_the_ious_of_its_candidates(head_on_all_anchors, features, make_sample):
    nrpn_head = dict(type='GradedNRPNHead', max_num=20)
    head = head_on_all_anchors(type='GradedRPNHead', nrpn_head=nrpn_head)
    losses = head.loss(features(2), [make_sample(OBJECTS), make_sample([])])
    assert losses['loss_nrpn_cls'][0] > 0 and head.nrpn_head.ious.shape == (2, 20)
    assert (head.nrpn_head.ious[1] == 0).all() and (head.nrpn_head.ious[0] > 0).any()


def test_folded_mining_takes_the_top_of_s_minus_n(head_on_all_anchors, features, make_sample):
    head = head_on_all_anchors(
        type='FoldedMiningRPNHead', nrpn_head=dict(max_num=20), loss_rank=dict(type='HardNegativeRankLoss')
    )
    mined = []
    stock = head.nrpn_head.loss_and_hardness
    head.nrpn_head.loss_and_hardness = lambda x, hidden, given, metas: (
        mined.append(given) or stock(x, hidden, given, metas)
    )
    head.loss(features(1), [make_sample(OBJECTS)])
    outs, hidden = head.forward_with_hidden(features(1))
    s, n = objectness_logits(outs[0]), objectness_logits(head.nrpn_head(hidden))
    assert torch.equal(mined[0].inds, (s - n).topk(20).indices) and not torch.equal(mined[0].inds, s.topk(20).indices)
    torch.testing.assert_close(mined[0].logits, s.gather(1, mined[0].inds))


def test_the_weight_falls_to_0_over_a_training(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rpn_head = MODELS.build(
                dict(type='HardNegativeRPNHead', in_channels=1, feat_channels=1, loss_rank=dict(
                    type='HardNegativeRankLoss', loss_weight=0.4), nrpn_head=None)
            )  # fmt: skip

    hook = RankWeightSchedule()
    runner = type('Runner', (), dict(model=Model(), iter=0, max_iters=4))()
    hook.before_train(runner)
    weights = []
    for runner.iter in range(4):
        hook.before_train_iter(runner, 0)
        weights.append(runner.model.rpn_head.loss_rank.loss_weight)
    assert weights == pytest.approx([0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize('has_prior', [False, True])
def test_images_without_positives_are_ranked_below_those_of_the_batch(has_prior):
    settings = dict(loss_weight=1.0, num_negatives=3, prior_weight=0.5)
    generator = torch.Generator().manual_seed(0)
    logits, prior = torch.randn(2, 4, 9, generator=generator, dtype=torch.double)
    positive = torch.zeros(4, 9, dtype=torch.bool)
    positive[0, :2] = positive[2, 5] = True  # images 1 and 3 have none
    negative = ~positive
    prior = prior if has_prior else None
    loss = BatchRankLoss(**settings)(logits, positive, negative, prior)
    plain = HardNegativeRankLoss(**settings)
    expected = plain(logits, positive, negative, prior)
    for image in (1, 3):
        hardest, inds = logits[image].topk(3)
        if has_prior:
            factors = (0.5 * prior[image, inds]).exp()
            hardest = hardest + (factors / factors.mean()).log()
        terms = [torch.log1p((hardest - score).exp().sum()) for score in logits[positive]]
        expected = expected + sum(terms) / len(terms) / 2  # two images have positives
    torch.testing.assert_close(loss, expected)
    for rows in (slice(0, 1), slice(1, 2)):  # all images have positives, and none has
        masks = positive[rows], negative[rows]
        assert BatchRankLoss(**settings)(logits[rows], *masks) == plain(logits[rows], *masks)
