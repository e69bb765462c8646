import copy
import warnings
from collections import OrderedDict

import pytest
import torch
from mmdet.models.losses import CrossEntropyLoss, FocalLoss
from mmdet.models.task_modules import MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmdet.structures.bbox import HorizontalBoxes, bbox_overlaps
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope, Registry
from mmengine.structures import InstanceData
from torch.utils._python_dispatch import TorchDispatchMode

from mmdet_nrpn import HardNegativeRankLoss, NRPNHead, NRPNSampler
from mmdet_nrpn.utils import objectness_logits

FOCAL = dict(
    loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    sampler=dict(type='PseudoSampler'),
)
RANK = dict(type='HardNegativeRankLoss')
OBJECTS = [[8.0, 8, 24, 24], [30, 30, 60, 62]]


def total(losses):
    return sum(sum(level.sum() for level in value) for key, value in losses.items() if 'loss' in key)


def grads(head, x, samples, seed=5):
    torch.manual_seed(seed)
    losses = head.loss(x, samples)
    total(losses).backward()
    return losses, {name: p.grad.clone() for name, p in head.named_parameters()}


def assert_same(ours, stock):
    assert ours.keys() == stock.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], stock[key], rtol=0, atol=0)


# --- the neutral settings are the parent


NEUTRAL = dict(
    no_nrpn=dict(nrpn_head=None),
    rank_weight_zero=dict(nrpn_head=None, loss_rank=dict(type='HardNegativeRankLoss', loss_weight=0.0)),
    nrpn_that_nobody_asks=dict(nrpn_head=dict(type='NRPNHead')),
)


@pytest.mark.parametrize('setting', NEUTRAL)
@pytest.mark.parametrize('base', ['sampled', 'focal', 'decoded', 'inside', 'coder', 'boxes', 'anchors', 'convs'])
def test_neutral_settings_are_rpn_head_losses_and_gradients(build_head, features, make_sample, setting, base):
    common = dict(
        sampled=dict(sampler=dict(type='RandomSampler')),
        focal=FOCAL,
        decoded=dict(
            sampler=dict(type='RandomSampler'), reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss', loss_weight=1.0)
        ),
        inside=dict(sampler=dict(type='RandomSampler'), train_cfg=dict(allowed_border=0, pos_weight=2.0)),
        coder=dict(sampler=dict(type='RandomSampler'), bbox_coder=dict(type='TBLRBBoxCoder', normalizer=4.0)),
        boxes=dict(
            sampler=dict(type='RandomSampler'),
            anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8], use_box_type=True),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', use_box_type=True),
        ),
        anchors=dict(
            sampler=dict(type='RandomSampler'),
            anchor_generator=dict(
                type='LegacyAnchorGenerator', scales=[4], ratios=[1.0, 2.0], strides=[4, 8], center_offset=0.5
            ),
        ),
        convs=dict(sampler=dict(type='RandomSampler'), num_convs=2),
    )[base]
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*learns nothing from hardness.*')
        ours = build_head(**common, **NEUTRAL[setting])
    stock = build_head('RPNHead', **common)
    samples = [make_sample(OBJECTS), make_sample(OBJECTS[:1], ignored=OBJECTS[1:])]
    results = []
    for head in (ours, stock):
        state = {key: value for key, value in head.state_dict().items() if 'nrpn' not in key}
        losses, gradients = grads(head, features(), samples)
        results.append((state, losses, {key: value for key, value in gradients.items() if 'nrpn' not in key}))
    (state, losses, gradients), (stock_state, stock_losses, stock_gradients) = results
    assert_same(state, stock_state)
    assert_same({key: losses[key] for key in stock_losses}, stock_losses)
    assert_same(gradients, stock_gradients)


def test_loss_by_feat_without_features(build_head, features, make_sample):
    """It is the stock head's, and with hardness what a training step makes of it."""
    samples = [make_sample(OBJECTS), make_sample([], ignored=OBJECTS)]
    metas, objects = [sample.metainfo for sample in samples], [sample.gt_instances for sample in samples]
    ignored = [sample.ignored_instances for sample in samples]
    results = []
    for head in (build_head(sampler=dict(type='RandomSampler'), loss_rank=RANK), build_head('RPNHead')):
        torch.manual_seed(0)
        results.append(head.loss_by_feat(*head(features()), objects, metas, ignored))
    ours, stock = results
    assert ours.pop('loss_rpn_rank')[0] > 0 and total(ours) == total(stock)
    head = build_head(loss_rank=RANK)
    torch.nn.init.normal_(head.nrpn_head.nrpn_cls.weight)
    outs, hidden = head.forward_with_hidden(features())
    torch.manual_seed(0)
    step = head.loss(features(), samples)
    torch.manual_seed(0)
    alone = head.loss_by_feat(
        *outs, objects, metas, ignored, hardness=objectness_logits(head.nrpn_head(hidden)).detach()
    )
    assert set(step) - set(alone) == {'loss_nrpn_cls', 'nrpn_false_positives'}
    assert all(total({key: alone[key]}) == total({key: step[key]}) for key in alone)


def test_anchors_are_made_once_a_step(build_head, features, make_sample, monkeypatch):
    head = build_head(**FOCAL, loss_rank=RANK)
    made, flags = [], head.prior_generator.valid_flags
    monkeypatch.setattr(
        head.prior_generator, 'valid_flags', lambda *args, **kwargs: made.append(0) or flags(*args, **kwargs)
    )
    head.loss(features(), [make_sample(OBJECTS), make_sample([])])
    assert len(made) == 2  # one per image


def test_prior_weight_zero_is_ranking_without_a_prior(build_head, features, make_sample):
    results = []
    for kwargs in (dict(), dict(nrpn_head=None)):
        loss_rank = dict(type='HardNegativeRankLoss', prior_weight=0.0)
        head = build_head(**FOCAL, loss_rank=loss_rank, **kwargs)
        if head.nrpn_head is not None:
            torch.nn.init.normal_(head.nrpn_head.nrpn_cls.weight)
        results.append(grads(head, features(), [make_sample(OBJECTS), make_sample([])]))
    (losses, gradients), (without, gradients_without) = results
    assert losses['loss_rpn_rank'][0] == without['loss_rpn_rank'][0] > 0
    assert_same({key: gradients[key] for key in gradients_without}, gradients_without)


def test_hard_fraction_zero_draws_like_the_parent(build_head, features, make_sample):
    """No hard draws: the same distribution. Checked by the number and kind of anchors that carry weight."""
    ours = build_head(sampler=dict(type='NRPNSampler', hard_fraction=0.0), hardness='rpn')
    ours.loss(features(1), [make_sample(OBJECTS)])
    result = ours.sampling_results[0]
    assert len(result.hard_anchors) == 0 and len(result.neg_inds) + len(result.pos_inds) == 64


@pytest.mark.parametrize('loss_cls', ['CrossEntropyLoss', 'OverlapLoss'])
def test_inference_is_the_parents_bit_for_bit(build_head, features, make_sample, loss_cls):
    ours = build_head(loss_cls=dict(type=loss_cls, use_sigmoid=True))
    stock = build_head('RPNHead')
    stock.load_state_dict({k: v for k, v in ours.state_dict().items() if not k.startswith('nrpn_head')})
    samples = [make_sample([]), make_sample([])]
    for got, expected in zip(ours(features()), stock(features())):
        assert all(torch.equal(a, b) for a, b in zip(got, expected))
    for got, expected in zip(ours.predict(features(), samples), stock.predict(features(), samples)):
        assert torch.equal(got.bboxes, expected.bboxes) and torch.equal(got.scores, expected.scores)
    assert type(ours).forward is type(stock).forward and type(ours).predict is type(stock).predict


def test_initial_weights_and_later_random_numbers_are_the_stock_models(build_head):
    ours, after_ours = build_head(), torch.rand(3)
    stock, after_stock = build_head('RPNHead'), torch.rand(3)
    for key, value in stock.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)
    assert torch.equal(after_ours, after_stock)
    assert all((p == 0).all() for p in ours.nrpn_head.parameters())


# --- the method


def test_draws_the_hardest_negatives_of_the_nrpn(build_head, features, make_sample, monkeypatch):
    head = build_head(sampler=dict(type='NRPNSampler', hard_fraction=0.25, pool_factor=1))
    num_priors = 3 * (16 * 16 + 8 * 8)
    # hardness planted over all anchors, also over those on objects
    planted = torch.stack([torch.randperm(num_priors), torch.randperm(num_priors)]).float()
    learn = type(head.nrpn_head).loss_and_hardness
    monkeypatch.setattr(type(head.nrpn_head), 'loss_and_hardness', lambda self, *args: (learn(self, *args)[0], planted))
    samples = [make_sample(OBJECTS), make_sample([])]
    losses = head.loss(features(), samples)
    logits = torch.cat([s.permute(0, 2, 3, 1).flatten(1) for s in head(features())[0]], dim=1)
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    hard_scores = []
    for i, result in enumerate(head.sampling_results):
        ious = bbox_overlaps(anchors, samples[i].gt_instances.bboxes)
        is_negative = ious.max(1).values < 0.3 if ious.numel() else torch.ones(num_priors, dtype=torch.bool)
        # the best anchor of an object is positive even below 0.3; with these objects none is
        num_hard = int(0.25 * (64 - len(result.pos_inds)))
        expected = planted[i].masked_fill(~is_negative, -1).topk(num_hard).indices
        assert sorted(result.hard_anchors.tolist()) == sorted(expected.tolist())
        assert is_negative[result.random_anchors].all()
        hard_scores.append(logits[i, result.hard_anchors].sigmoid())
    torch.testing.assert_close(losses['rpn_hard_neg_score'], torch.cat(hard_scores).mean().detach())


def test_own_objectness_as_hardness_needs_no_nrpn(build_head, features, make_sample):
    head = build_head(sampler=dict(type='NRPNSampler', hard_fraction=0.5, pool_factor=1), hardness='rpn')
    assert head.nrpn_head is None
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.3)
    losses = head.loss(features(1), [make_sample([])])
    logits = torch.cat([s.permute(0, 2, 3, 1).flatten(1) for s in head(features(1))[0]], dim=1)[0]
    hard = head.sampling_results[0].hard_anchors
    assert sorted(hard.tolist()) == sorted(logits.topk(32).indices.tolist())
    assert losses['rpn_hard_neg_score'] > losses['rpn_random_neg_score']


def test_anchors_outside_the_image_keep_their_hardness(build_head, features, make_sample):
    """AnchorHead drops anchors that cross the border before it samples; the indices must not shift."""
    head = build_head(
        sampler=dict(type='NRPNSampler', hard_fraction=0.5, pool_factor=1),
        hardness='rpn',
        train_cfg=dict(allowed_border=0),
    )
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.3)
    head.loss(features(1), [make_sample([])])
    logits = torch.cat([s.permute(0, 2, 3, 1).flatten(1) for s in head(features(1))[0]], dim=1)[0]
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    inside = (anchors >= 0).all(1) & (anchors < 64).all(1)  # as anchor_inside_flags has it
    assert 0 < inside.sum() < len(anchors)
    expected = logits.masked_fill(~inside, -torch.inf).topk(32).indices
    hard = head.sampling_results[0].hard_anchors
    assert sorted(hard.tolist()) == sorted(expected.tolist())


def test_an_anchor_is_compared_with_ignored_objects_as_far_as_it_lies_in_the_image(
    build_head, features, make_sample, monkeypatch
):
    ignored = torch.tensor([[0.0, 0, 64, 8]])
    head = build_head(**FOCAL, loss_rank=RANK)
    calls = rank_inputs(head, monkeypatch)
    head.loss(features(1), [make_sample([], ignored.tolist())])
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    iof = bbox_overlaps(anchors.clamp(0, 64), ignored, mode='iof')[:, 0]
    unclipped = bbox_overlaps(anchors, ignored, mode='iof')[:, 0]
    assert ((iof >= 0.3) & (unclipped < 0.3)).any()
    ((_, _, negative, _),) = calls
    assert torch.equal(negative[0], iof < 0.3)


@pytest.mark.parametrize('base', ['ranked', 'sampled'])
def test_hard_iou_thr_keeps_anchors_near_objects_out_of_what_is_hard(
    build_head, features, make_sample, base, monkeypatch
):
    kwargs = (
        dict(FOCAL, loss_rank=RANK) if base == 'ranked' else dict(sampler=dict(type='NRPNSampler', hard_fraction=1.0))
    )
    head = build_head(hard_iou_thr=0.1, **kwargs)
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.3)
    calls = rank_inputs(head, monkeypatch) if base == 'ranked' else None
    head.loss(features(1), [make_sample(OBJECTS)])
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    ious = bbox_overlaps(anchors, torch.tensor(OBJECTS)).max(1).values
    assert ((ious >= 0.1) & (ious < 0.3)).any()
    if base == 'ranked':
        ((_, positive, negative, _),) = calls
        assert torch.equal(negative[0], ious < 0.1) and positive.any()
    else:  # still negatives, that may be sampled at random
        assert (ious[head.sampling_results[0].hard_anchors] < 0.1).all()
        everything = build_head(hard_iou_thr=0.1, sampler=dict(type='NRPNSampler', num=10**4, hard_fraction=0.5))
        everything.loss(features(1), [make_sample(OBJECTS)])
        assert (ious[everything.sampling_results[0].random_anchors] >= 0.1).any()


def test_hard_means_negative_whatever_a_subclass_allows(build_head, features, make_sample, monkeypatch):
    head = build_head(**FOCAL, loss_rank=RANK)
    monkeypatch.setattr(
        head, 'may_be_hard', lambda assigned, *args: torch.ones_like(assigned.gt_inds, dtype=torch.bool)
    )
    calls = rank_inputs(head, monkeypatch)
    head.loss(features(1), [make_sample(OBJECTS)])
    ((_, positive, negative, _),) = calls
    assert positive.any() and negative.any() and not (positive & negative).any()


class NoOverlapsAssigner(MaxIoUAssigner):
    def assign(self, *args, **kwargs):
        result = super().assign(*args, **kwargs)
        result.max_overlaps = None
        return result


def test_hard_iou_thr_needs_overlaps(build_head, features, make_sample):
    assigner = dict(type=NoOverlapsAssigner, pos_iou_thr=0.7, neg_iou_thr=0.3)
    build_head(train_cfg=dict(assigner=assigner)).loss(features(1), [make_sample(OBJECTS)])
    with pytest.raises(ValueError, match='hard_iou_thr=0.1: NoOverlapsAssigner compares no overlaps; write None'):
        head = build_head(hard_iou_thr=0.1, train_cfg=dict(assigner=assigner))
        head.loss(features(1), [make_sample(OBJECTS)])


IGNORED_AS = dict(
    plain=lambda bboxes: bboxes, numpy=lambda bboxes: bboxes.numpy(), float64=lambda bboxes: bboxes.double(),
    numpy_float64=lambda bboxes: bboxes.double().numpy(), half=lambda bboxes: bboxes.half(), boxes=HorizontalBoxes,
)  # fmt: skip


@pytest.mark.parametrize('given_as', IGNORED_AS)
def test_ignored_objects_may_be_of_any_kind_without_labels(build_head, features, make_sample, given_as):
    """NumPy arrays as in MMDetection's own samples of videos; the stock head does not look at them."""
    samples = [make_sample(OBJECTS[:1], ignored=OBJECTS[1:]), make_sample(OBJECTS)]
    head = build_head(sampler=dict(type='NRPNSampler', hard_fraction=1.0), loss_rank=RANK)
    torch.manual_seed(0)
    expected = head.loss(features(), samples)
    for sample in samples:
        sample.ignored_instances = InstanceData(bboxes=IGNORED_AS[given_as](sample.ignored_instances.bboxes))
    torch.manual_seed(0)
    assert total(head.loss(features(), samples)) == total(expected)


def test_ignored_objects_may_be_missing(build_head, features, make_sample):
    """In one image of the batch, or in all of them."""
    head, losses = build_head(sampler=dict(type='NRPNSampler', hard_fraction=1.0), loss_rank=RANK), []
    for num in range(3):
        samples = [make_sample(OBJECTS[:1]), make_sample(OBJECTS)]
        for sample in samples[:num]:
            del sample.ignored_instances
        torch.manual_seed(0)
        losses.append(total(head.loss(features(), samples)))
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize('kind', [torch.float64, torch.float16, torch.int64])
@pytest.mark.parametrize('nrpn_type', ['NRPNHead', 'PaperNRPNHead'])
def test_objects_may_be_of_any_kind_of_number(build_head, features, make_sample, kind, nrpn_type):
    """As in the stock head."""
    head, losses = build_head(nrpn_head=dict(type=nrpn_type), loss_rank=RANK), []
    for number in (torch.float32, kind):
        samples = [make_sample(OBJECTS, ignored=OBJECTS[1:]), make_sample([])]
        for sample in samples:
            sample.gt_instances.bboxes = sample.gt_instances.bboxes.to(number)
        torch.manual_seed(0)
        losses.append(total(head.loss(features(), samples)))
    assert losses[0] == losses[1]


def test_forward_nrpn_without_one_is_told(build_head, features):
    head = build_head(**FOCAL, nrpn_head=None)
    with pytest.raises(ValueError, match='forward_nrpn needs an nRPN'):
        head.forward_nrpn(*([features(1)] * 2))


@pytest.mark.parametrize('hardness', ['nrpn', 'rpn'])
def test_ignored_objects_are_neither_false_positives_nor_hard(build_head, features, make_sample, hardness):
    ignored = [[0.0, 0, 40, 64]]
    head = build_head(sampler=dict(type='NRPNSampler', hard_fraction=1.0), hardness=hardness)
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.3)
    head.loss(features(1), [make_sample([], ignored)])
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    iof = bbox_overlaps(anchors, torch.tensor(ignored), mode='iof')[:, 0]
    result = head.sampling_results[0]
    assert len(result.hard_anchors) > 0 and (iof[result.hard_anchors] < 0.3).all()
    if hardness == 'nrpn':
        everything = [[0.0, 0, 64, 64]]
        losses = head.loss(features(1), [make_sample([], everything)])
        assert losses['nrpn_false_positives'] == 0
        assert head.loss(features(1), [make_sample([])])['nrpn_false_positives'] > 0


def test_overlap_loss_gets_the_overlap_of_each_positive(build_head, features, make_sample, monkeypatch):
    loss_cls = dict(type='OverlapLoss', use_sigmoid=True)
    head = build_head(loss_cls=loss_cls, sampler=dict(type='RandomSampler'), nrpn_head=None)
    seen = []
    forward = type(head.loss_cls).forward
    monkeypatch.setattr(
        type(head.loss_cls),
        'forward',
        lambda self, pred, target, *a, **k: seen.append(target) or forward(self, pred, target, *a, **k),
    )
    # the small object lies inside the large one: low-quality matches matter
    objects = [[8.0, 8, 24, 24], [4, 4, 44, 44]]
    head.loss(features(1), [make_sample(objects)])
    levels = head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu')
    result = head.sampling_results[0]
    matched = dict(zip(result.pos_inds.tolist(), result.pos_assigned_gt_inds.tolist()))
    assert len(seen) == 2 and matched
    overlaps, labels = (torch.cat([getattr(t, key) for t in seen]) for key in ('overlaps', 'labels'))
    anchors = torch.cat(levels)
    assert set((labels == 0).nonzero().flatten().tolist()) == set(matched)
    for anchor, gt in matched.items():
        expected = bbox_overlaps(anchors[anchor][None], torch.tensor(objects)[gt][None])[0, 0]
        torch.testing.assert_close(overlaps[anchor], expected)


def test_overlap_loss_at_overlap_one_is_the_stock_loss(build_head, features, make_sample):
    """An object equal to an anchor, so that the only positive has IoU 1."""
    anchors = torch.cat(build_head('RPNHead').prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    inside = anchors[((anchors >= 0) & (anchors <= 64)).all(1)]
    box = inside[(inside[:, 2] - inside[:, 0]).argmax()].tolist()
    stock_assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.99, neg_iou_thr=0.3, match_low_quality=False)
    common = dict(sampler=dict(type='RandomSampler'), nrpn_head=None, train_cfg=dict(assigner=stock_assigner))
    ours = build_head(loss_cls=dict(type='OverlapLoss', use_sigmoid=True), **common)
    stock = build_head(**common)
    for got, expected in zip(
        grads(ours, features(1), [make_sample([box])]), grads(stock, features(1), [make_sample([box])])
    ):
        for key in expected:
            torch.testing.assert_close(got[key], expected[key])


# --- images with nothing in them, and DDP


def test_an_image_without_objects_is_mined_and_ranks_nothing(build_head, features, make_sample, monkeypatch):
    head = build_head(nrpn_head=dict(max_num=20), loss_rank=dict(loss_weight=1.0))
    mine, mined = head.mine, []
    monkeypatch.setattr(head, 'mine', lambda step: mined.append(mine(step)) or mined[-1])
    x = features(2)
    losses = head.loss(x, [make_sample(OBJECTS), make_sample([])])
    # its top candidates are false, all of them, and the nRPN learns from them
    assert mined[0].is_false[1].sum() == 20 and not mined[0].is_true[1].any()
    first, second = (
        head.loss(tuple(level[i : i + 1] for level in x), [make_sample(o)]) for i, o in ((0, OBJECTS), (1, []))
    )
    assert sum(second['loss_nrpn_cls']) > 0
    # what is ranked is what the image with objects has
    assert sum(first['loss_rpn_rank']) > 0 and sum(second['loss_rpn_rank']) == 0
    torch.testing.assert_close(sum(losses['loss_rpn_rank']), sum(first['loss_rpn_rank']))


@pytest.mark.parametrize(
    'objects, ignored', [([], []), ([], OBJECTS), ([[0.0, 0, 64, 64]], []), (OBJECTS, [[0.0, 0, 64, 64]])]
)
def test_every_parameter_has_a_gradient_in_every_step(build_head, features, make_sample, objects, ignored):
    head = build_head()
    x = features(1, requires_grad=True)
    losses, gradients = grads(head, x, [make_sample(objects, ignored)])
    assert all(torch.isfinite(g).all() for g in gradients.values())
    assert {name.split('.')[0] for name in gradients} == {'rpn_conv', 'rpn_cls', 'rpn_reg', 'nrpn_head'}
    assert all(torch.isfinite(value.detach()).all() for key, value in losses.items() if 'loss' not in key)


@pytest.mark.parametrize('loss_cls', ['CrossEntropyLoss', 'OverlapLoss'])
def test_mixed_precision_gives_the_losses_of_float32(build_head, features, make_sample, loss_cls):
    head = build_head(
        loss_cls=dict(type=loss_cls, use_sigmoid=True),
        sampler=dict(type='NRPNSampler', hard_fraction=0.0),  # the draws must not hang on the last bits of hardness
    )
    losses = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            losses.append(head.loss(features(1), [make_sample(OBJECTS)]))
    for key in ('loss_rpn_cls', 'loss_rpn_bbox'):
        torch.testing.assert_close(sum(losses[1][key]).float(), sum(losses[0][key]), rtol=0.02, atol=1e-3)
    total(losses[1]).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def sample_of_size(make_sample, objects, height, width, ignored=()):
    sample = make_sample(objects, ignored)
    sample.set_metainfo(dict(img_shape=(height, width), pad_shape=(height, width)))
    return sample


@pytest.mark.parametrize('kwargs', [dict(), dict(nrpn_head=dict(type='PaperNRPNHead')), dict(hardness='rpn')])
def test_a_batch_is_its_images_of_different_sizes(build_head, features, make_sample, kwargs):
    """What is mined, ranked and sampled as hard in an image does not depend on its neighbours' size."""
    head = build_head(sampler=dict(type='NRPNSampler', hard_fraction=1.0, pool_factor=1), loss_rank=RANK, **kwargs)
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.3)
    sizes, x = [(64, 64), (32, 64), (64, 32), (24, 40)], features(4)
    samples = [
        sample_of_size(make_sample, [[2.0, 2, 18, 18]], *size, ignored=[[0.0, 16, 12, 24]] * (i % 2))
        for i, size in enumerate(sizes)
    ]
    # features of padding are those of an image alone: zeros, which the convolution's own padding is
    for i, (height, width) in enumerate(sizes):
        for level, stride in zip(x, (4, 8)):
            level[i, :, height // stride :], level[i, :, :, width // stride :] = 0, 0
    together = head.loss(x, samples)
    hard_together, false_positives, ranks = head.sampling_results, 0, 0
    num_places, num_positives = (16, 8), [int(result.num_pos) for result in hard_together]
    for i, (height, width) in enumerate(sizes):
        alone = tuple(level[i : i + 1, :, : height // stride, : width // stride] for level, stride in zip(x, (4, 8)))
        losses = head.loss(alone, samples[i : i + 1])
        false_positives += losses.get('nrpn_false_positives', 0)
        assert len(hard_together[i].hard_anchors) > 0
        anchors_alone = torch.cat(
            head.prior_generator.grid_priors([level.shape[-2:] for level in alone], device='cpu')
        )[head.sampling_results[0].hard_anchors]
        anchors = torch.cat(head.prior_generator.grid_priors([(n, n) for n in num_places], device='cpu'))
        got = {tuple(anchor) for anchor in anchors[hard_together[i].hard_anchors].tolist()}
        assert got == {tuple(anchor) for anchor in anchors_alone.tolist()}
        ranks += losses['loss_rpn_rank'][0] * num_positives[i]
    if head.nrpn_head is not None:
        torch.testing.assert_close(together['nrpn_false_positives'] * 4, false_positives)
    torch.testing.assert_close(together['loss_rpn_rank'][0] * sum(num_positives), ranks)


@pytest.mark.parametrize('width', [32, 128])
def test_false_positives_of_an_image_alone_and_padded(build_head, make_sample, width):
    head = build_head(nrpn_head=dict(max_num=64), sampler=dict(type='NRPNSampler'))
    x = tuple(torch.zeros(1, 8, 32 // stride, width // stride) for stride in (4, 8))
    losses = head.loss(x, [sample_of_size(make_sample, [], 32, 32)])
    assert losses['nrpn_false_positives'] == 64


class Waits(TorchDispatchMode):
    """Counts what a GPU would be waited for: sizes and values that the next line of Python needs."""

    def __init__(self):
        super().__init__()
        self.num = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        self.num += name.startswith(('aten.nonzero', 'aten._local_scalar_dense', 'aten.masked_select'))
        if name.startswith(('aten.index.Tensor', 'aten.index_put')):
            by_mask = any(index is not None and index.dtype == torch.bool for index in args[1])
            is_filled = 'put' in name and args[2].numel() == 1  # with one number, which waits for nothing
            self.num += by_mask and not is_filled
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    'ours, stock',
    [
        (dict(FOCAL, loss_rank=RANK), FOCAL),
        (dict(FOCAL, loss_rank=RANK, nrpn_head=None), FOCAL),
        (dict(loss_rank=RANK), {}),
        (dict(sampler=dict(type='NRPNSampler', warmup=0)), dict(sampler=dict(type='RandomSampler'))),
    ],
)
def test_a_step_waits_for_a_gpu_less_often_than_the_stock_heads(build_head, features, make_sample, ours, stock):
    samples = [make_sample(OBJECTS), make_sample(OBJECTS[:1])]
    nums = []
    for head in (build_head(**ours), build_head('RPNHead', **stock)):
        with Waits() as waits:
            head.loss(features(), samples)
        nums.append(waits.num)
    assert nums[0] < nums[1]


def test_training_leaves_its_inputs_alone(build_head, features, make_sample):
    head, x, samples = build_head(), features(), [make_sample(OBJECTS), make_sample([])]
    before = copy.deepcopy((x, samples))
    head.loss(x, samples)
    assert all(torch.equal(a, b) for a, b in zip(x, before[0]))
    for sample, old in zip(samples, before[1]):
        assert set(sample.metainfo) == set(old.metainfo)
        assert set(sample.gt_instances.keys()) == set(old.gt_instances.keys())
        assert 'hardness' not in sample.gt_instances
        assert torch.equal(sample.gt_instances.bboxes, old.gt_instances.bboxes)


def test_there_is_no_nms_but_the_second_stages(build_head, features, make_sample, monkeypatch):
    head, calls = build_head(), []
    predict = type(head).predict_by_feat
    monkeypatch.setattr(
        type(head), 'predict_by_feat', lambda self, *a, **k: calls.append(self) or predict(self, *a, **k)
    )
    samples = [make_sample(OBJECTS), make_sample([])]
    losses, proposals = head.loss_and_predict(features(), samples, proposal_cfg=copy.deepcopy(head.test_cfg))
    assert calls == [head] and all(0 < len(p) <= 100 for p in proposals)
    head.loss(features(), samples)
    assert calls == [head]
    stock = build_head('RPNHead')
    for ours, theirs in zip(proposals, stock.loss_and_predict(features(), samples)[1]):
        assert torch.equal(ours.bboxes, theirs.bboxes) and torch.equal(ours.scores, theirs.scores)


def test_the_nrpn_sees_the_hidden_features_and_the_convolution_runs_once(build_head, features, make_sample):
    head, calls = build_head(), []
    head.rpn_conv.register_forward_hook(lambda module, args, out: calls.append(out))
    seen = []
    head.nrpn_head.nrpn_cls.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    head.loss(features(), [make_sample(OBJECTS), make_sample([])])
    assert len(calls) == len(seen) == 2  # levels
    for made, got in zip(calls, seen):
        assert torch.equal(made.relu(), got) and not got.requires_grad


# --- ranking


def rank_inputs(head, monkeypatch):
    """What the ranking loss is given."""
    calls = []
    forward = type(head.loss_rank).forward
    monkeypatch.setattr(
        type(head.loss_rank), 'forward', lambda self, *a, **k: calls.append((*a, k)) or forward(self, *a, **k)
    )
    return calls


@pytest.mark.parametrize('base', ['focal', 'sampled'])
def test_ranks_all_positives_and_all_negatives_but_ignored_and_invalid_ones(
    build_head, features, make_sample, monkeypatch, base
):
    head = build_head(**(FOCAL if base == 'focal' else dict(sampler=dict(type='RandomSampler'))), loss_rank=RANK)
    torch.nn.init.normal_(head.nrpn_head.nrpn_cls.weight)
    calls = rank_inputs(head, monkeypatch)
    narrow = make_sample(OBJECTS[:1], ignored=[[0.0, 0, 20, 64]])
    narrow.set_metainfo(dict(img_shape=(64, 40), pad_shape=(64, 40)))
    samples = [make_sample(OBJECTS), narrow]
    losses = head.loss(features(), samples)
    ((logits, positive, negative, kwargs),) = calls
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    places = torch.cat([torch.arange(size * size).repeat_interleave(3) % size * (64 // size) for size in (16, 8)])
    for i, sample in enumerate(samples):
        ious = bbox_overlaps(anchors, sample.gt_instances.bboxes).max(1).values
        valid = places < sample.img_shape[1]
        expected = (ious < 0.3) & valid
        if i == 1:
            clipped = anchors.clamp(min=0).minimum(torch.tensor([40.0, 64, 40, 64]))
            expected &= bbox_overlaps(clipped, sample.ignored_instances.bboxes, mode='iof')[:, 0] < 0.3
        assert torch.equal(negative[i], expected)
        assert (positive[i] & valid).sum() == positive[i].sum() > 0
        assert (ious[positive[i]] >= 0.3).all() and not (positive[i] & negative[i]).any()
        between = valid & (ious >= 0.3) & (ious < 0.7) & ~positive[i]
        assert between.any() and not negative[i][between].any()
    (outs, hidden) = head.forward_with_hidden(features())
    for got, maps in ((logits, outs[0]), (kwargs['prior'], head.nrpn_head(hidden))):
        torch.testing.assert_close(got, torch.cat([m.permute(0, 2, 3, 1).flatten(1) for m in maps], dim=1))
    assert not kwargs['prior'].requires_grad and losses['loss_rpn_rank'][0] > 0


def test_own_objectness_as_the_prior(build_head, features, make_sample, monkeypatch):
    head = build_head(**FOCAL, loss_rank=RANK, hardness='rpn')
    calls = rank_inputs(head, monkeypatch)
    head.loss(features(), [make_sample(OBJECTS), make_sample([])])
    ((logits, _, _, kwargs),) = calls
    assert head.nrpn_head is None and torch.equal(kwargs['prior'], logits)


# --- settings


COMBINED = dict(type='CombinedSampler', pos_sampler=dict(type='RandomSampler'), neg_sampler=dict(type='NRPNSampler'))
OTHER_ANCHORS = [
    dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8]),
    dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8]),
    dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16]),
]


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(hardness='loss'), "hardness='loss'"),
        (dict(nrpn_head=dict(max_num=0)), 'rpn_head.nrpn_head.max_num'),
        (dict(loss_rank=dict(type='HardNegativeRankLoss', loss_weight=-1)), 'loss_weight=-1'),
        (dict(loss_cls=dict(type='OverlapLoss')), 'use_sigmoid=True'),
        (
            dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False)),
            "^rpn_head.loss_cls .* write rpn_head.loss_cls=dict\\(type='CrossEntropyLoss', use_sigmoid=True\\)",
        ),
        (dict(nrpn_head=False), 'nrpn_head must be a dict or None, got nrpn_head=False'),
        (dict(nrpn_head='NRPNHead'), "got nrpn_head='NRPNHead'"),
        (dict(loss_rank=True), 'loss_rank must be a dict or None, got loss_rank=True'),
        (dict(nrpn_head=None), "nrpn_head=dict\\(type='NRPNHead'\\)"),
        (dict(hard_iou_thr='0.1'), "hard_iou_thr='0.1'"),
        (dict(hard_iou_thr=3), 'hard_iou_thr=3'),
        (dict(hard_iou_thr=0), 'hard_iou_thr=0'),
        (dict(sampler=dict(type='NRPNSampler', hard_fraction=2)), 'hard_fraction=2'),
        (dict(sampler=dict(type='NRPNSampler', add_gt_as_proposals=True)), 'add_gt_as_proposals=False'),
        (
            dict(sampler=COMBINED, loss_rank=RANK),
            "gets no hardness as train_cfg.rpn.sampler.neg_sampler; write sampler=dict\\(type='NRPNSampler'\\)",
        ),
        (
            dict(nrpn_head=dict(type='PaperNRPNHead', loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))),
            "write rpn_head.nrpn_head.loss_cls=dict\\(type='CrossEntropyLoss', use_sigmoid=True\\)",
        ),
        (
            dict(nrpn_head=dict(type='PaperNRPNHead', train_cfg=dict(alowed_border=0))),
            'rpn_head.nrpn_head.train_cfg.alowed_border=0 is no setting of an RPN; write one of .*allowed_border',
        ),
        *(
            (dict(nrpn_head=dict(type='PaperNRPNHead', anchor_generator=generator)), 'gives other anchors .* remove it')
            for generator in OTHER_ANCHORS
        ),
    ],
)
def test_bad_settings_fail_when_the_model_is_built(build_head, kwargs, words):
    with pytest.raises(ValueError, match=words):
        build_head(**kwargs)


@pytest.mark.parametrize(
    'kwargs, word',
    [
        (dict(hardnes='rpn'), 'hardnes'),
        (dict(nrpn_head=dict(max_nun=3)), 'max_nun'),
        (dict(nrpn_head=dict(max_nun=3), hardness='rpn'), 'max_nun'),
        (dict(nrpn_head=dict(type='PaperNRPNHead', max_nun=3), hardness='rpn'), 'max_nun'),
        (dict(loss_rank=dict(type='HardNegativeRankLoss', prior_wight=3), nrpn_head=None), 'prior_wight'),
    ],
)
@pytest.mark.parametrize('for_training', [True, False])
def test_a_misspelt_argument_is_refused_also_where_nothing_uses_it(head_cfg, kwargs, word, for_training):
    cfg = head_cfg(**kwargs) if for_training else {**head_cfg(**kwargs), 'train_cfg': None}
    with pytest.raises(TypeError, match=word):
        MODELS.build(cfg)


# what an RPN has and this nRPN has not, and what never was
@pytest.mark.parametrize('key', ['shared_conv', 'feat_channels', 'loss_cls', 'train_cfg', 'num_base_priors'])
@pytest.mark.parametrize('hardness', ['nrpn', 'rpn'])
def test_a_setting_that_the_nrpn_does_not_have_is_refused_by_name(build_head, key, hardness):
    with pytest.raises(TypeError, match=key):
        build_head(nrpn_head={key: 4}, hardness=hardness)


@pytest.mark.parametrize('kind', ['FocalLoss', 'RPNHead', 'NoSuchHead', CrossEntropyLoss])
def test_a_class_that_is_no_nrpn_is_refused_by_name(build_head, kind):
    with pytest.raises(ValueError, match='rpn_head.nrpn_head.type=.* is no nRPN; write NRPNHead'):
        build_head(nrpn_head=dict(type=kind))


def head_without_sampler(head_cfg, type, **kwargs):
    """As one turns a base config's sampler off."""
    cfg = head_cfg(type, **kwargs)
    cfg.train_cfg.sampler = None
    torch.manual_seed(0)
    head = MODELS.build(cfg)
    head.init_weights()
    return head


def test_a_key_that_is_there_with_none_is_the_stock_heads(head_cfg, features, make_sample):
    samples = [make_sample(OBJECTS), make_sample([])]
    heads = (
        head_without_sampler(head_cfg, 'HardNegativeRPNHead', nrpn_head=None),
        head_without_sampler(head_cfg, 'RPNHead'),
    )
    ours, stock = (grads(head, features(), samples)[1] for head in heads)
    assert_same(ours, stock)


@pytest.mark.parametrize('nrpn_head', [dict(type='NRPNHead'), dict(type='PaperNRPNHead')])
def test_without_a_sampler_an_nrpn_trains(head_cfg, features, make_sample, nrpn_head):
    head = head_without_sampler(head_cfg, 'HardNegativeRPNHead', nrpn_head=nrpn_head, loss_rank=RANK)
    losses, gradients = grads(head, features(), [make_sample(OBJECTS), make_sample([])])
    assert 'loss_nrpn_cls' in losses and all(torch.isfinite(g).all() for g in gradients.values())


class FieldReadingAssigner(MaxIoUAssigner):
    """Reads fields of the objects that an RPN does not need, as an assigner of one's own may."""

    def assign(self, pred_instances, gt_instances, gt_instances_ignore=None, **kwargs):
        assert len(gt_instances.masks) == len(gt_instances) and gt_instances.metainfo['source'] == 'test'
        assert gt_instances_ignore is None or 'reason' in gt_instances_ignore
        return super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)


@pytest.mark.parametrize('type', ['RPNHead', 'HardNegativeRPNHead'])
def test_objects_reach_the_assigner_whole(build_head, features, make_sample, type):
    assigner = dict(type=FieldReadingAssigner, pos_iou_thr=0.7, neg_iou_thr=0.3)
    sample = make_sample(OBJECTS, ignored=OBJECTS[:1])
    sample.gt_instances.masks = ['any', 'thing']
    sample.gt_instances.set_metainfo(dict(source='test'))
    sample.ignored_instances.reason = ['crowd']
    head = build_head(type, train_cfg=dict(assigner=assigner))
    losses = head.loss(features(1), [sample])
    assert torch.isfinite(total(losses))


@pytest.mark.parametrize('spelling', ['NRPNSampler', 'mmdet.NRPNSampler', NRPNSampler])
@pytest.mark.parametrize('nrpn_type', ['NRPNHead', 'mmdet.PaperNRPNHead', NRPNHead])
def test_types_may_be_classes_or_carry_a_scope(build_head, features, make_sample, spelling, nrpn_type):
    head = build_head(sampler=dict(type=spelling), nrpn_head=dict(type=nrpn_type))
    losses = head.loss(features(1), [make_sample(OBJECTS)])
    assert 'rpn_hard_neg_score' in losses and 'loss_nrpn_cls' in losses


@pytest.mark.parametrize('spelling', ['mmdet.RandomSampler', RandomSampler])
def test_stock_samplers_may_be_classes_or_carry_a_scope(build_head, features, make_sample, spelling):
    with pytest.warns(UserWarning, match='learns nothing from hardness'):
        head = build_head(sampler=dict(type=spelling))
    assert torch.isfinite(total(head.loss(features(1), [make_sample(OBJECTS)])))


@pytest.mark.parametrize('paper', [False, True])
def test_it_builds_under_another_librarys_default_scope(head_cfg, features, make_sample, paper):
    def prefixed(cfg):
        if isinstance(cfg, dict):
            return {
                key: f'mmdet.{value}' if key == 'type' else prefixed(value) for key, value in cfg.items()
            }  # fmt: skip
        return cfg

    cfg = prefixed(head_cfg(loss_rank=dict(RANK), **(dict(nrpn_head=dict(type='PaperNRPNHead')) if paper else {})))
    with DefaultScope.overwrite_default_scope('mmpose'):  # registers nothing here
        head = MODELS.build(ConfigDict(cfg))
        head.init_weights()
        losses = head.loss(features(1), [make_sample(OBJECTS)])
    assert {'loss_rpn_rank', 'loss_nrpn_cls', 'rpn_hard_neg_score'} <= set(losses)


PURE_PYTHON = """
from mmdet.models.losses import L1Loss
from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder, MaxIoUAssigner

from mmdet_nrpn import HardNegativeRankLoss, HardNegativeRPNHead, NRPNSampler, OverlapLoss, PaperNRPNHead

default_scope = None
model = dict(
    type=HardNegativeRPNHead, in_channels=8, feat_channels=8,
    anchor_generator=dict(type=AnchorGenerator, scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8]),
    bbox_coder=dict(type=DeltaXYWHBBoxCoder), loss_cls=dict(type=OverlapLoss, use_sigmoid=True),
    loss_bbox=dict(type=L1Loss), nrpn_head=dict(type=PaperNRPNHead), loss_rank=dict(type=HardNegativeRankLoss),
    train_cfg=dict(
        assigner=dict(type=MaxIoUAssigner, pos_iou_thr=0.7, neg_iou_thr=0.3),
        sampler=dict(type=NRPNSampler, num=64, pos_fraction=0.5), allowed_border=-1, pos_weight=-1,
    ),
    test_cfg=dict(nms_pre=200, max_per_img=100, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
)
"""


@pytest.mark.parametrize('dumped', [False, True])
def test_a_pure_python_config_trains(features, make_sample, monkeypatch, tmp_path, dumped):
    """Types are classes, or their full names once MMEngine has written the config; there is no default scope."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())
    (tmp_path / 'pure.py').write_text(PURE_PYTHON)
    cfg = Config.fromfile(tmp_path / 'pure.py')
    if dumped:
        cfg.dump(tmp_path / 'dumped.py')
        cfg = Config.fromfile(tmp_path / 'dumped.py', lazy_import=False)
        assert isinstance(cfg.model.nrpn_head.type, str)
    head = MODELS.build(cfg.model)
    losses = head.loss(features(1), [make_sample(OBJECTS)])
    assert {'loss_rpn_rank', 'loss_nrpn_bbox', 'rpn_hard_neg_score'} <= set(losses)
    assert type(head.nrpn_head.loss_cls) is CrossEntropyLoss


def test_an_nrpn_of_another_library_is_found_as_mmengine_finds_it(build_head, head_cfg, monkeypatch):
    monkeypatch.setattr(MODELS, '_children', dict(MODELS.children))
    registry = Registry('model', parent=MODELS, scope='tests')
    monkeypatch.setattr(registry, '_imported', True)
    registry.register_module('OthersNRPNHead', module=type('OthersNRPNHead', (NRPNHead,), {}))
    head = build_head(nrpn_head=dict(type='tests.OthersNRPNHead'))
    with DefaultScope.overwrite_default_scope('tests'):
        other = MODELS.build(head_cfg(nrpn_head=dict(type='OthersNRPNHead')))
    assert type(head.nrpn_head) is type(other.nrpn_head) is registry.get('OthersNRPNHead')


@pytest.mark.parametrize('rows, columns', [(1, 960), (2, 959), (3, 960)])
def test_hardness_of_another_shape_is_refused(build_head, features, make_sample, monkeypatch, rows, columns):
    head = build_head()
    learn = type(head.nrpn_head).loss_and_hardness
    monkeypatch.setattr(
        type(head.nrpn_head), 'loss_and_hardness', lambda self, *a: (learn(self, *a)[0], torch.zeros(rows, columns))
    )
    with pytest.raises(ValueError, match=rf'\(2, 960\), got \({rows}, {columns}\)'):
        head.loss(features(), [make_sample(OBJECTS), make_sample([])])


def test_nrpn_sampler_in_a_plain_rpn_head_works_and_warns_once(build_head, features, make_sample):
    with pytest.warns(UserWarning, match='HardNegativeRPNHead') as record:
        head = build_head('RPNHead', sampler=dict(type='NRPNSampler'))
        for _ in range(3):
            losses = head.loss(features(1), [make_sample(OBJECTS)])
    assert len([w for w in record if 'NRPNSampler' in str(w.message)]) == 1
    assert torch.isfinite(total(losses))


def test_a_stock_sampler_beside_an_nrpn_warns(build_head):
    with pytest.warns(UserWarning, match='NRPNSampler'):
        build_head(sampler=dict(type='RandomSampler'))


def test_the_shipped_settings_do_not_warn(build_head, features, make_sample):
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*(NRPN|HardNegative).*')
        build_head().loss(features(1), [make_sample(OBJECTS)])


# --- weights


@pytest.mark.parametrize('paper', [False, True])
def test_a_pretrained_init_cfg_initialises_rpn_and_nrpn_from_their_own_weights(build_head, tmp_path, paper):
    """The prefix is the RPN's: an nRPN that took it for its own would be a copy of the RPN."""
    nrpn_head = dict(type='PaperNRPNHead') if paper else dict()
    trained = build_head(nrpn_head=nrpn_head)
    for p in trained.parameters():
        torch.nn.init.normal_(p)
    state = {f'rpn_head.{key}': value for key, value in trained.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'trained.pth')
    init_cfg = dict(type='Pretrained', prefix='rpn_head.', checkpoint=str(tmp_path / 'trained.pth'))
    assert_same(build_head(nrpn_head=nrpn_head, init_cfg=init_cfg).state_dict(), trained.state_dict())
    # a stock checkpoint: the RPN's weights, and a fresh nRPN
    state = {key: value for key, value in state.items() if 'nrpn' not in key}
    torch.save(dict(state_dict=state), tmp_path / 'stock.pth')
    head = build_head(nrpn_head=nrpn_head, init_cfg=dict(init_cfg, checkpoint=str(tmp_path / 'stock.pth')))
    assert torch.equal(head.rpn_cls.weight, trained.rpn_cls.weight)
    fresh = build_head(nrpn_head=nrpn_head).nrpn_head.state_dict()
    for key, value in head.nrpn_head.state_dict().items():
        assert not torch.equal(value, trained.nrpn_head.state_dict()[key])
        assert paper or torch.equal(value, fresh[key])


@pytest.mark.parametrize('nrpn_head', [dict(), dict(type='PaperNRPNHead')])
def test_an_init_cfg_with_overrides_is_the_rpns(build_head, nrpn_head):
    init_cfg = [dict(type='Normal', layer='Conv2d', std=0.01, override=dict(type='Constant', name='rpn_conv', val=0.5))]
    ours, stock = build_head(init_cfg=init_cfg, nrpn_head=nrpn_head), build_head('RPNHead', init_cfg=init_cfg)
    for key, value in stock.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)
    assert (ours.rpn_conv.weight == 0.5).all()


def test_built_for_inference_it_has_no_nrpn_and_loads_a_training_checkpoint_strictly(build_head, head_cfg):
    trained = build_head()
    inference = MODELS.build({**head_cfg(), 'train_cfg': None})
    assert inference.nrpn_head is None
    inference.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(inference.rpn_conv.weight, trained.rpn_conv.weight)


def test_a_ranking_loss_needs_no_type(build_head):
    head = build_head(loss_rank=dict(loss_weight=0.1))
    assert isinstance(head.loss_rank, HardNegativeRankLoss) and head.loss_rank.loss_weight == 0.1


def test_the_papers_nrpn_learns_by_cross_entropy_where_the_rpn_has_an_overlap_loss(build_head):
    loss_cls = dict(type='OverlapLoss', use_sigmoid=True, loss_weight=0.5)
    nrpn = build_head(loss_cls=loss_cls, nrpn_head=dict(type='PaperNRPNHead')).nrpn_head
    assert isinstance(nrpn.loss_cls, CrossEntropyLoss) and nrpn.loss_cls.loss_weight == 0.5
    own = dict(type='FocalLoss', use_sigmoid=True)
    nrpn = build_head(loss_cls=loss_cls, nrpn_head=dict(type='PaperNRPNHead', loss_cls=own)).nrpn_head
    assert isinstance(nrpn.loss_cls, FocalLoss)


@pytest.mark.parametrize('strict', [True, False])
def test_weights_of_an_nrpn_of_another_shape_are_left_out(build_head, strict):
    wide = build_head(nrpn_head=dict(type='PaperNRPNHead', feat_channels=8))
    narrow = build_head(nrpn_head=dict(type='PaperNRPNHead', feat_channels=4))
    fresh = {key: value.clone() for key, value in narrow.nrpn_head.state_dict().items()}
    with torch.no_grad():
        wide.rpn_cls.bias.fill_(3)
    narrow.load_state_dict(wide.state_dict(), strict=strict)
    assert (narrow.rpn_cls.bias == 3).all()
    assert all(torch.equal(value, fresh[key]) for key, value in narrow.nrpn_head.state_dict().items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason='MMEngine initialises a model where it lies, here on a GPU')
def test_on_a_gpu_the_nrpns_initial_weights_take_none_of_the_seeds_random_numbers(build_head):
    after = []
    for nrpn_head in (None, dict(type='PaperNRPNHead')):
        head = build_head(sampler=dict(type='RandomSampler'), nrpn_head=nrpn_head).cuda()
        torch.manual_seed(0)
        head.init_weights()
        after.append(torch.rand(3, device='cuda'))
    assert torch.equal(*after)
