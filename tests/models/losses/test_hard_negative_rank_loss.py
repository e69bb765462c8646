import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_nrpn import HardNegativeRankLoss


def by_loops(logits, positive, negative, prior, num_negatives, prior_weight, avg_factor):
    """The formula of the docstring and its gradient, in float64."""
    total, grad = 0.0, np.zeros(logits.shape)
    for image in range(len(logits)):
        s = [float(value) for value in logits[image]]
        chosen = sorted((j for j in range(len(s)) if negative[image][j]), key=lambda j: -s[j])[:num_negatives]
        c = {j: 0.0 for j in chosen}
        if prior is not None and chosen:
            mean = sum(math.exp(prior_weight * float(prior[image][k])) for k in chosen) / len(chosen)
            c = {j: prior_weight * float(prior[image][j]) - math.log(mean) for j in chosen}
        for i in range(len(s)):
            if not positive[image][i] or not chosen:
                continue
            terms = {j: math.exp(s[j] - s[i] + c[j]) for j in chosen}
            total += math.log(1 + sum(terms.values()))
            for j, term in terms.items():
                grad[image, j] += term / (1 + sum(terms.values()))
                grad[image, i] -= term / (1 + sum(terms.values()))
    return total / avg_factor, grad / avg_factor


def random_case(seed, num_images, num_anchors, scale=3.0):
    rng = np.random.default_rng(seed)
    # distinct: which of equals are the hardest is open
    logits = torch.tensor(rng.permutation(num_images * num_anchors).reshape(num_images, -1)).double()
    logits = (logits / logits.numel() - 0.5) * 2 * scale
    role = torch.tensor(rng.choice(3, (num_images, num_anchors), p=rng.dirichlet([1, 1, 1])))
    return logits, role == 0, role == 1, torch.tensor(rng.normal(0, 2, (num_images, num_anchors)))


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10**6),
    num_images=st.integers(1, 3),
    num_anchors=st.integers(1, 30),
    num_negatives=st.integers(1, 40),
    prior_weight=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    has_prior=st.booleans(),
    avg_factor=st.sampled_from([None, 7]),
)
def test_value_and_gradient_are_those_of_a_triple_loop(
    seed, num_images, num_anchors, num_negatives, prior_weight, has_prior, avg_factor
):
    logits, positive, negative, prior = random_case(seed, num_images, num_anchors)
    prior = prior if has_prior else None
    expected, grad = by_loops(
        logits, positive, negative, prior, num_negatives, prior_weight, avg_factor or max(int(positive.sum()), 1)
    )
    loss = HardNegativeRankLoss(0.25, num_negatives, prior_weight)
    logits.requires_grad_()
    value = loss(logits, positive, negative, prior, avg_factor)
    value.backward()
    assert value.item() == pytest.approx(0.25 * expected, abs=1e-10)
    np.testing.assert_allclose(logits.grad.numpy(), 0.25 * grad, atol=1e-10)


def test_large_logits_neither_overflow_nor_vanish():
    logits = torch.tensor([[-200.0, 200.0, 100.0]], requires_grad=True)
    positive = torch.tensor([[True, False, False]])
    loss = HardNegativeRankLoss(loss_weight=1.0)(logits, positive, ~positive)
    loss.backward()
    assert loss.item() == pytest.approx(400)
    torch.testing.assert_close(logits.grad, torch.tensor([[-1.0, 1.0, 0.0]]))


@pytest.mark.parametrize('num_pos, num_neg', [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_positives_or_negatives_adds_an_exact_zero(num_pos, num_neg):
    logits = torch.randn(2, 10, requires_grad=True)
    positive, negative = torch.zeros(2, 10, dtype=torch.bool), torch.zeros(2, 10, dtype=torch.bool)
    positive[0, :num_pos], negative[0, 10 - num_neg :] = True, True
    loss = HardNegativeRankLoss()(logits, positive, negative, torch.randn(2, 10))
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros(2, 10))


def test_a_batch_is_the_sum_of_its_images():
    logits, positive, negative, prior = random_case(3, 4, 50)
    loss = HardNegativeRankLoss(num_negatives=5)
    alone = [loss(*(part[i : i + 1] for part in (logits, positive, negative, prior)), 10) for i in range(4)]
    torch.testing.assert_close(loss(logits, positive, negative, prior, 10), sum(alone))


def test_the_order_of_the_anchors_does_not_matter():
    case, perm = random_case(4, 2, 50), torch.randperm(50)
    loss = HardNegativeRankLoss(num_negatives=5)
    torch.testing.assert_close(loss(*(part[:, perm] for part in case)), loss(*case))


def test_anchors_in_neither_mask_play_no_part():
    logits, positive, negative, prior = random_case(5, 2, 50)
    loss, neither = HardNegativeRankLoss(num_negatives=5), ~(positive | negative)
    assert neither.any()
    changed = logits + 100 * neither
    assert loss(changed, positive, negative, prior + neither * 100) == loss(logits, positive, negative, prior)


def test_without_prior_is_prior_weight_zero_and_an_equal_prior():
    logits, positive, negative, prior = random_case(6, 2, 50)
    plain = HardNegativeRankLoss()(logits, positive, negative)
    assert HardNegativeRankLoss(prior_weight=0)(logits, positive, negative, prior) == plain
    torch.testing.assert_close(HardNegativeRankLoss()(logits, positive, negative, torch.full_like(prior, 3.0)), plain)


def test_the_prior_moves_the_gradient_to_what_it_calls_hard():
    logits = torch.zeros(1, 3, requires_grad=True)
    positive = torch.tensor([[True, False, False]])
    prior = torch.tensor([[0.0, 2.0, -2.0]], requires_grad=True)
    HardNegativeRankLoss(loss_weight=1.0)(logits, positive, ~positive, prior).backward()
    assert logits.grad[0, 1] > 10 * logits.grad[0, 2] > 0
    assert prior.grad is None


@pytest.mark.parametrize(
    'prior, weights',
    [
        ([0.0, -math.inf, 0.0], [0.5, 0, 0.5]),
        ([0.0, math.nan, 0.0], [0.5, 0, 0.5]),
        ([0.0, math.inf, 0.0], [0, 1, 0]),
        ([-math.inf] * 3, [1 / 3] * 3),
        ([math.nan] * 3, [1 / 3] * 3),
        ([math.inf] * 3, [1 / 3] * 3),
    ],
)
@pytest.mark.parametrize('prior_weight', [1.0, 0.5])
def test_a_prior_that_is_not_finite_leaves_the_loss_finite(prior, weights, prior_weight):
    """NaN and -inf count as nothing, inf as everything; the factors' mean stays 1."""
    logits = torch.zeros(1, 4, requires_grad=True)
    positive = torch.tensor([[True, False, False, False]])
    loss = HardNegativeRankLoss(1.0, prior_weight=prior_weight)(
        logits, positive, ~positive, torch.tensor([[0.0, *prior]])
    )
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + 3), abs=1e-4)
    torch.testing.assert_close(logits.grad[0], torch.tensor([-0.75, *(0.75 * w for w in weights)]), rtol=0, atol=1e-4)


@pytest.mark.parametrize('prior_weight', [1.0, -1.0])
def test_a_prior_that_is_nan_counts_least_also_with_a_negative_weight(prior_weight):
    logits = torch.zeros(1, 4, requires_grad=True)
    positive = torch.tensor([[True, False, False, False]])
    prior = torch.tensor([[0.0, math.nan, 1.0, -1.0]])
    HardNegativeRankLoss(1.0, prior_weight=prior_weight)(logits, positive, ~positive, prior).backward()
    assert logits.grad[0, 1] < 1e-4 < logits.grad[0, 2:].min()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, positive, negative, prior = random_case(7, 2, 50)
    logits, prior = logits.to(dtype), prior.to(dtype)
    value = HardNegativeRankLoss()(logits, positive, negative, prior)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, HardNegativeRankLoss()(logits.float(), positive, negative, prior.float()))


def test_memory_grows_linearly_with_anchors():
    def allocated(num_anchors):
        logits = torch.randn(2, num_anchors, requires_grad=True)
        positive = torch.arange(num_anchors).expand(2, -1) % 50 == 0  # positives grow, too
        with torch.profiler.profile(profile_memory=True) as profile:
            HardNegativeRankLoss()(logits, positive, ~positive, torch.randn(2, num_anchors)).backward()
        return sum(max(event.self_cpu_memory_usage, 0) for event in profile.key_averages())

    # 4 times, and 16 if each were compared with each; torch 2.1 counts what is freed elsewhere, or not
    assert allocated(80_000) < 8 * allocated(20_000)


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(loss_weight=-1), 'loss_weight=-1'),
        (dict(loss_weight=math.nan), 'loss_weight=nan'),
        (dict(num_negatives=0), 'num_negatives=0'),
        (dict(num_negatives=2.5), 'num_negatives=2.5'),
        (dict(num_negatives=math.inf), 'num_negatives=inf'),
        (dict(num_negatives=None), 'num_negatives=None'),
        (dict(num_negatives=True), 'num_negatives=True'),
        (dict(loss_weight='0.25'), "loss_weight='0.25'"),
        (dict(prior_weight=math.inf), 'prior_weight=inf'),
    ],
)
def test_bad_settings_say_what_to_write(kwargs, words):
    with pytest.raises(ValueError, match=words):
        HardNegativeRankLoss(**kwargs)


@pytest.mark.parametrize('name', ['positive', 'negative', 'prior'])
def test_inputs_of_another_shape_are_refused(name):
    inputs = dict(zip(('logits', 'positive', 'negative', 'prior'), random_case(8, 2, 50)))
    inputs[name] = inputs[name][:1]
    with pytest.raises(ValueError, match=rf'{name} must have the shape of logits, \(2, 50\), got \(1, 50\)'):
        HardNegativeRankLoss()(**inputs)
