import copy
import warnings

import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps

from mmdet_nrpn.models.utils import objectness_logits

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


def test_without_nrpn_it_is_rpn_head_losses_and_gradients(build_head, features, make_sample):
    ours = build_head(sampler=dict(type='RandomSampler'), nrpn_head=None)
    stock = build_head('RPNHead')
    samples = [make_sample(OBJECTS), make_sample(OBJECTS[:1], ignored=OBJECTS[1:])]
    assert_same(ours.state_dict(), stock.state_dict())
    for got, expected in zip(grads(ours, features(), samples), grads(stock, features(), samples)):
        assert_same(got, expected)


def test_hard_fraction_zero_draws_like_the_parent(build_head, features, make_sample):
    """No hard draws: the same distribution. Checked by the number and kind of anchors that carry weight."""
    ours = build_head(sampler=dict(type='NRPNSampler', hard_fraction=0.0), hardness='rpn')
    ours.loss(features(1), [make_sample(OBJECTS)])
    result = ours._raw_positive_infos['sampling_results'][0]
    assert len(result.hard_negatives) == 0 and len(result.neg_inds) + len(result.pos_inds) == 64


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
    assert ours.nrpn_head.rpn_reg.weight.std().item() == pytest.approx(0.01, rel=0.2)  # RPNHead's own init_cfg


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
    for i, result in enumerate(head._raw_positive_infos['sampling_results']):
        ious = bbox_overlaps(anchors, samples[i].gt_instances.bboxes)
        is_negative = ious.max(1).values < 0.3 if ious.numel() else torch.ones(num_priors, dtype=torch.bool)
        # the best anchor of an object is positive even below 0.3; with these objects none is
        num_hard = int(0.25 * (64 - len(result.pos_inds)))
        expected = planted[i].masked_fill(~is_negative, -1).topk(num_hard).indices
        assert sorted(result.hard_negatives.tolist()) == sorted(expected.tolist())
        assert is_negative[result.random_negatives].all()
        hard_scores.append(logits[i, result.hard_negatives].sigmoid())
    torch.testing.assert_close(losses['rpn_hard_neg_score'], torch.cat(hard_scores).mean().detach())


def test_own_objectness_as_hardness_needs_no_nrpn(build_head, features, make_sample):
    head = build_head(sampler=dict(type='NRPNSampler', hard_fraction=0.5, pool_factor=1), hardness='rpn')
    assert head.nrpn_head is None
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.3)
    losses = head.loss(features(1), [make_sample([])])
    logits = torch.cat([s.permute(0, 2, 3, 1).flatten(1) for s in head(features(1))[0]], dim=1)[0]
    hard = head._raw_positive_infos['sampling_results'][0].hard_negatives
    assert sorted(hard.tolist()) == sorted(logits.topk(32).indices.tolist())
    assert losses['rpn_hard_neg_score'] > losses['rpn_random_neg_score']


def test_anchors_outside_the_picture_keep_their_hardness(build_head, features, make_sample):
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
    hard = head._raw_positive_infos['sampling_results'][0].hard_negatives
    assert sorted(hard.tolist()) == sorted(expected.tolist())


@pytest.mark.parametrize('hardness', ['nrpn', 'rpn'])
def test_ignored_objects_are_neither_false_positives_nor_hard(build_head, features, make_sample, hardness):
    ignored = [[0.0, 0, 40, 64]]
    head = build_head(sampler=dict(type='NRPNSampler', hard_fraction=1.0), hardness=hardness)
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.3)
    head.loss(features(1), [make_sample([], ignored)])
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    iof = bbox_overlaps(anchors, torch.tensor(ignored), mode='iof')[:, 0]
    result = head._raw_positive_infos['sampling_results'][0]
    assert len(result.hard_negatives) > 0 and (iof[result.hard_negatives] < 0.3).all()
    if hardness == 'nrpn':
        everything = [[0.0, 0, 64, 64]]
        losses = head.loss(features(1), [make_sample([], everything)])
        assert losses['nrpn_false_positives'] == 0
        assert head.loss(features(1), [make_sample([])])['nrpn_false_positives'] > 0


def test_overlap_loss_gets_the_overlap_of_each_positive(build_head, features, make_sample, monkeypatch):
    loss_cls = dict(type='OverlapLoss', use_sigmoid=True, mode='reweighted')
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
    result = head._raw_positive_infos['sampling_results'][0]
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


# --- pictures with nothing in them, and DDP


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
        train_cfg=dict(nrpn=dict(false_positives=dict(score_thr=0.0))),
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


def test_no_false_positive_still_trains_the_nrpn(build_head, features, make_sample):
    head = build_head(train_cfg=dict(nrpn=dict(false_positives=dict(score_thr=1.0))))
    losses, gradients = grads(head, features(1), [make_sample(OBJECTS)])
    assert losses['nrpn_false_positives'] == 0
    assert all(name in gradients for name, _ in head.nrpn_head.named_parameters(prefix='nrpn_head'))


def test_a_batch_is_its_pictures(build_head, features, make_sample):
    """False positives and hardness of a picture do not depend on its neighbours."""
    head = build_head(sampler=dict(type='NRPNSampler', hard_fraction=1.0, pool_factor=1))
    x, samples = features(2), [make_sample(OBJECTS), make_sample(OBJECTS[:1])]
    head.loss(x, samples)
    together = [r.hard_negatives for r in head._raw_positive_infos['sampling_results']]
    for i in range(2):
        head.loss(tuple(level[i : i + 1] for level in x), samples[i : i + 1])
        alone = head._raw_positive_infos['sampling_results'][0].hard_negatives
        assert set(alone.tolist()) == set(together[i].tolist())


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


def test_the_shared_convolution_runs_once(build_head, features, make_sample):
    head, calls = build_head(), []
    head.rpn_conv.register_forward_hook(lambda module, args, out: calls.append(out))
    seen = []
    head.nrpn_head.rpn_cls.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    head.loss(features(), [make_sample(OBJECTS), make_sample([])])
    assert len(calls) == len(seen) == 2  # levels
    for made, got in zip(calls, seen):
        assert torch.equal(made.relu(), got) and not got.requires_grad
    assert head.nrpn_head.rpn_conv is None


def test_an_nrpn_with_its_own_convolution_sees_the_features(build_head, features, make_sample):
    head, seen = build_head(nrpn_head=dict(shared_conv=False)), []
    head.nrpn_head.rpn_conv.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = features()
    head.loss(x, [make_sample(OBJECTS), make_sample([])])
    assert all(torch.equal(a, b) for a, b in zip(x, seen))


# --- settings


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(hardness='loss'), "hardness='loss'"),
        (dict(hardness_weight=-1), 'hardness_weight=-1'),
        (dict(loss_cls=dict(type='OverlapLoss')), 'use_sigmoid=True'),
        (dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False)), 'use_sigmoid=True'),
        (dict(nrpn_head=None), "nrpn_head=dict\\(type='NRPNHead'\\)"),
        (dict(sampler=dict(type='NRPNSampler', hard_fraction=2)), 'hard_fraction=2'),
        (dict(sampler=dict(type='NRPNSampler', add_gt_as_proposals=True)), 'add_gt_as_proposals=False'),
    ],
)
def test_bad_settings_fail_when_the_model_is_built(build_head, kwargs, words):
    with pytest.raises(ValueError, match=words):
        build_head(**kwargs)


def test_a_misspelt_argument_is_not_swallowed(build_head):
    with pytest.raises(TypeError, match='hardnes'):
        build_head(hardnes='rpn')


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


# --- hardness as weight

FOCAL = dict(
    loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    sampler=dict(type='PseudoSampler'),
)


@pytest.mark.parametrize('hardness', ['nrpn', 'rpn'])
def test_a_negative_weighs_more_the_harder_it_is(build_head, features, make_sample, hardness):
    head = build_head(**FOCAL, hardness=hardness, hardness_weight=4.0)
    seen = {}
    get_targets = head.get_targets

    def record(*args, **kwargs):
        seen['targets'] = get_targets(*args, **kwargs)
        return seen['targets']

    head.get_targets = record
    head.loss(features(2), [make_sample(OBJECTS), make_sample([], ignored=[(0, 0, 20, 20)])])
    labels, weights = (torch.cat(levels, dim=1) for levels in seen['targets'][:2])
    outs, x = head.forward_with_nrpn(features(2)) if hardness == 'nrpn' else (head(features(2)), None)
    logits = objectness_logits(outs[0] if hardness == 'rpn' else head.nrpn_head(x)[0])
    # on an ignored object, nothing is hard: by hand for the second picture
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    inside = (anchors.clamp(0, 20) - anchors.clamp(0, 20)[:, [2, 3, 0, 1]])[:, 2:].prod(1)
    on_ignored = inside / (anchors[:, 2:] - anchors[:, :2]).prod(1) >= 0.3
    logits[1, on_ignored] = -torch.inf
    expected = torch.where(labels == 1, 1 + 4 * logits.sigmoid(), torch.ones(()))
    valid = weights > 0
    assert on_ignored.any() and (labels == 0).any() and valid.sum() > 500
    torch.testing.assert_close(weights[valid], expected[valid])


def test_without_weight_hardness_leaves_focal_loss_alone(build_head, features, make_sample):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        ours = build_head(**FOCAL)
    stock = build_head('RPNHead', **FOCAL)
    stock.load_state_dict(ours.state_dict(), strict=False)
    batch = features(1), [make_sample(OBJECTS)]
    assert torch.equal(sum(ours.loss(*batch)['loss_rpn_cls']), sum(stock.loss(*batch)['loss_rpn_cls']))


# --- weights


def test_the_nrpn_inherits_what_it_does_not_set(build_head):
    head = build_head(nrpn_head=dict(feat_channels=4, shared_conv=False))
    assert head.nrpn_head.feat_channels == 4 and head.feat_channels == 8
    assert head.nrpn_head.in_channels == 8
    assert head.nrpn_head.prior_generator.strides == head.prior_generator.strides


def test_built_for_inference_it_has_no_nrpn_and_loads_a_training_checkpoint_strictly(build_head, head_cfg):
    from mmdet.registry import MODELS

    trained = build_head()
    inference = MODELS.build({**head_cfg(), 'train_cfg': None})
    assert inference.nrpn_head is None
    inference.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(inference.rpn_conv.weight, trained.rpn_conv.weight)
