import collections
import warnings

import hostile
import pytest
import torch

from mmdet_nrpn import NRPNSampler

STEPS = 40  # of each of the twelve variants; 200 each were run once


def hostile_hardness(hardness, step):
    """Among the anchors' hardness: nothing, NaN, infinities, all equal."""
    kind = step % 4
    if kind == 1:
        hardness[::3] = torch.nan
        hardness[1::3] = torch.inf
    elif kind == 2:
        hardness[::2] = -torch.inf
    elif kind == 3:
        hardness[:] = 0.5
    return hardness


def check_counts(head):
    """Of each image: as many as asked for or as there are, distinct, of the right kind."""
    for result in head.sampling_results:
        drawn, positive = result.neg_inds.tolist(), result.pos_inds.tolist()
        assert len(set(drawn)) == len(drawn) and not set(drawn) & set(positive)
        assert len(drawn) + len(positive) <= head.sampler.num
        hard, random = result.hard_neg_inds.tolist(), result.random_neg_inds.tolist()
        assert sorted(hard + random) == sorted(drawn)


@pytest.mark.slow
@pytest.mark.parametrize('variant', hostile.VARIANTS)
def test_losses_and_gradients_stay_finite(variant, monkeypatch):
    head = hostile.build_head(variant)
    optimizer = torch.optim.SGD(head.parameters(), lr=1e-3)
    seen = collections.Counter()
    if isinstance(head.sampler, NRPNSampler):
        sample = head.sampler.sample
        monkeypatch.setattr(
            head.sampler,
            'sample',
            lambda *args, hardness: sample(*args, hardness=hostile_hardness(hardness, seen['steps'])),
        )
    expected = _record_negatives(head, monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for seed in range(STEPS):
            features, samples, kinds = hostile.batch(seed)
            seen.update([kind for image in kinds for kind in image], steps=1)
            expected.clear()
            torch.manual_seed(seed)
            try:
                losses = head.loss(features, samples)
            except ValueError as error:  # MMDetection's own, for an image smaller than its anchors
                assert variant == 'inside' and 'no valid anchor inside' in str(error)
                continue
            seen.update(trained=1)
            total = sum(sum(value) for name, value in losses.items() if 'loss' in name)
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            where = f'seed {seed}: {kinds}, {[tuple(level.shape) for level in features]}'
            assert torch.isfinite(total), where
            for name, parameter in head.named_parameters():
                assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), f'{name}, {where}'
            if isinstance(head.sampler, NRPNSampler):
                check_counts(head)
            assert all(drawn == min(asked, available) for drawn, asked, available in expected), where
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
    assert set(hostile.OBJECTS) <= set(seen)
    assert seen['trained'] == STEPS or variant == 'inside' and seen['trained'] > STEPS / 3
    repeated = [str(text) for text, times in collections.Counter(str(w.message) for w in caught).items() if times > 1]
    assert not repeated


def _record_negatives(head, monkeypatch):
    """Of each call of the sampler: negatives drawn, asked for, available; and the same of the hard ones."""
    calls, sampler = [], head.sampler
    sample_neg = getattr(sampler, '_sample_neg', None)

    def record(assign_result, num_expected, hardness, **kwargs):
        drawn = sample_neg(assign_result, num_expected, hardness=hardness, **kwargs)
        is_free = assign_result.gt_inds == 0
        calls.append((len(drawn), num_expected, int(is_free.sum())))
        may_be_hard = is_free & ~hardness.isnan() & (hardness > -torch.inf)
        hard = assign_result.get_extra_property('hard_neg_inds')
        assert may_be_hard[hard].all()
        calls.append((len(hard), int(sampler.hard_fraction * num_expected), int(may_be_hard.sum())))
        return drawn

    if isinstance(head.sampler, NRPNSampler):
        monkeypatch.setattr(head.sampler, '_sample_neg', record)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize('variant', ['default', 'overlap', 'own_objectness', 'rank', 'paper'])
def test_bfloat16_stays_near_float32(variant):
    """The mean over 25 hostile steps; single steps differ more, for other negatives are drawn where logits tie."""
    sums = collections.Counter()
    for seed in range(25):
        features, samples, _ = hostile.batch(seed)
        for amp in (False, True):
            head = hostile.build_head(variant)
            torch.manual_seed(seed)
            with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                losses = head.loss(features, samples)
            total = sum(sum(value).float() for name, value in losses.items() if 'loss' in name)
            assert total.isfinite()
            total.backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
            sums[amp] += total.item()
    assert sums[True] == pytest.approx(sums[False], rel=0.02)
