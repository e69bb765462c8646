import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.losses import CrossEntropyLoss

from mmdet_nrpn import OverlapLoss


def formula(logit, label, overlap):
    """The loss of one anchor, from the formula, in float64."""
    if label != 0:
        return math.log1p(math.exp(logit)) if logit < 30 else logit
    log_p = -math.log1p(math.exp(-logit)) if logit > -30 else logit
    return -min(log_p - math.log(overlap), 0.0)


anchors = st.lists(st.tuples(st.floats(-80, 80), st.integers(0, 1), st.floats(0.01, 1.0)), min_size=1, max_size=30)


@settings(deadline=None)
@given(anchors)
def test_equals_the_formula_in_float64(rows):
    logits, labels, overlaps = (torch.tensor(column) for column in zip(*rows))
    loss = OverlapLoss(reduction='none')(logits.double(), (labels, overlaps.double()))
    expected = [formula(float(z), y, float(u)) for z, y, u in zip(logits, labels.tolist(), overlaps)]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-9, atol=1e-12)


def grad_of(loss_fn, logits, target):
    logits = logits.detach().clone().requires_grad_()
    loss_fn(logits, target).sum().backward()
    return logits.grad


def random_case(num=200, dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    logits = 8 * torch.randn(num, generator=rng, dtype=dtype)
    labels = torch.randint(0, 2, (num,), generator=rng)
    overlaps = torch.rand(num, generator=rng, dtype=dtype).clamp(min=0.05)
    return logits, labels, overlaps


def test_what_the_poster_prints_has_the_gradient_of_cross_entropy():
    """Why the loss is held at p = IoU: -log(p / IoU) alone learns nothing from the overlap."""
    logits, labels, overlaps = random_case()
    cross_entropy = CrossEntropyLoss(use_sigmoid=True, reduction='none')

    def printed(z, target):
        return torch.where(target[0] == 0, -(z.sigmoid() / target[1]).log(), -(1 - z.sigmoid()).log())

    torch.testing.assert_close(
        grad_of(printed, logits, (labels, overlaps)), grad_of(cross_entropy, logits, (labels == 0).long())
    )


def test_it_stops_where_objectness_reaches_the_overlap():
    logits, labels, overlaps = random_case()
    grad = grad_of(OverlapLoss(reduction='none'), logits, (labels, overlaps))
    p, positive = logits.sigmoid(), labels == 0
    reached = positive & (p >= overlaps)
    assert reached.any() and (positive & ~reached).any()
    assert (grad[reached] == 0).all()
    torch.testing.assert_close(grad[positive & ~reached], (p - 1)[positive & ~reached])  # cross entropy's below
    torch.testing.assert_close(grad[~positive], p[~positive])


def test_gradcheck():
    logits, labels, overlaps = random_case(20)
    loss = OverlapLoss()
    assert torch.autograd.gradcheck(lambda z: loss(z, (labels, overlaps)), logits.requires_grad_())


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_logits_stay_finite_and_right(dtype):
    logits = torch.tensor([-80.0, 80.0, -80.0, 80.0], dtype=dtype, requires_grad=True)
    labels, overlaps = torch.tensor([0, 0, 1, 1]), torch.tensor([0.5, 0.5, 0.5, 0.5])
    loss = OverlapLoss(reduction='none')(logits, (labels, overlaps))
    expected = [80 - math.log(2), 0, 0, 80]  # -log p + log IoU, held at 0; -log(1 - p)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), torch.tensor(expected, dtype=torch.float32))
    loss.sum().backward()
    torch.testing.assert_close(logits.grad.float(), torch.tensor([-1.0, 0, 0, 1]))


@pytest.mark.filterwarnings('ignore:OverlapLoss got no overlaps')
@pytest.mark.parametrize('shape', [(50,), (50, 1)])
@pytest.mark.parametrize('avg_factor', [None, 17.0])
@pytest.mark.parametrize('weighted', [True, False])
def test_labels_alone_are_cross_entropy(shape, avg_factor, weighted):
    rng = torch.Generator().manual_seed(1)
    logits = (20 * torch.randn(50, generator=rng)).reshape(shape)
    labels = torch.randint(0, 2, (50,), generator=rng)
    weight = torch.rand(50, generator=rng) if weighted else None
    ours, stock = OverlapLoss(loss_weight=0.7), CrossEntropyLoss(use_sigmoid=True, loss_weight=0.7)
    # with (N,) logits CrossEntropyLoss takes binary targets, with (N, 1) class labels
    stock_labels = labels if len(shape) == 2 else 1 - labels
    torch.testing.assert_close(
        ours(logits, labels, weight, avg_factor=avg_factor), stock(logits, stock_labels, weight, avg_factor=avg_factor)
    )
    ones = (labels, torch.ones(50))
    torch.testing.assert_close(
        ours(logits, ones, weight, reduction_override='none'),
        stock(logits, stock_labels, weight, reduction_override='none'),
    )


def test_overlaps_are_detached_and_read_only_at_positives():
    logits = torch.zeros(3, requires_grad=True)
    overlaps = torch.tensor([0.8, math.nan, 0.0], requires_grad=True)
    loss = OverlapLoss()(logits, (torch.tensor([0, 1, 1]), overlaps))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all() and overlaps.grad is None


def test_no_overlap_at_all_stays_finite():
    logits = torch.zeros(1, requires_grad=True)
    loss = OverlapLoss()(logits, (torch.tensor([0]), torch.tensor([0.0])))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_no_anchors_sum_to_zero_in_the_graph():
    logits = torch.zeros(0, 1, requires_grad=True)
    loss = OverlapLoss()(logits, torch.zeros(0, dtype=torch.long), torch.zeros(0), avg_factor=1)
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(use_sigmoid=False), 'use_sigmoid=True'),
        (dict(reduction='max'), "reduction='max'"),
        (dict(loss_weight=-1), 'loss_weight=-1'),
        (dict(loss_weight=float('nan')), 'loss_weight=nan'),
    ],
)
def test_bad_settings_say_what_to_write(kwargs, words):
    with pytest.raises(ValueError, match=words):
        OverlapLoss(**kwargs)


def test_two_logits_an_anchor_are_refused():
    with pytest.raises(ValueError, match='use_sigmoid=True'):
        OverlapLoss()(torch.zeros(5, 2), torch.zeros(5, dtype=torch.long))


def test_without_overlaps_it_says_that_it_is_cross_entropy():
    """As in a stock RPNHead, which hands over labels alone."""
    with pytest.warns(UserWarning, match="so it is cross entropy; write type='HardNegativeRPNHead'"):
        loss = OverlapLoss()(torch.zeros(5), torch.zeros(5, dtype=torch.long))
    assert loss.item() == pytest.approx(math.log(2))
