import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmengine.structures import InstanceData

from mmdet_nrpn.models.utils import mine_candidates

SIZE = (60, 80)  # height, width


def overlap(box, other, of_box=False):
    """IoU of two boxes, or the share of the first that lies in the second, by hand."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    whole = areas[0] if of_box else sum(areas) - both
    return both / max(whole, 1e-6)


def decode(prior, delta):
    x, y, w, h = (prior[0] + prior[2]) / 2, (prior[1] + prior[3]) / 2, prior[2] - prior[0], prior[3] - prior[1]
    x, y = x + delta[0] * w, y + delta[1] * h
    w, h = w * np.exp(delta[2]), h * np.exp(delta[3])
    box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    return [min(max(v, 0), limit) for v, limit in zip(box, (SIZE[1], SIZE[0]) * 2)]


def boxes(rng, num):
    corners = np.sort(rng.uniform(-20, 90, (num, 2, 2)), axis=1)
    return torch.tensor(np.concatenate([corners[:, 0], corners[:, 1] + 1], axis=1), dtype=torch.float32)


@given(
    seed=st.integers(0, 10**6),
    num_priors=st.integers(1, 40),
    max_num=st.integers(1, 50),
    num_gts=st.integers(0, 4),
    num_ignored=st.integers(0, 2),
)
def test_against_a_loop(seed, num_priors, max_num, num_gts, num_ignored):
    rng = np.random.default_rng(seed)
    priors, deltas = boxes(rng, num_priors), torch.tensor(rng.normal(0, 0.5, (2, num_priors, 4)), dtype=torch.float32)
    logits = torch.tensor(rng.permutation(2 * num_priors).reshape(2, -1) - num_priors, dtype=torch.float32) / 4
    gts, ignored = ([InstanceData(bboxes=boxes(rng, n)) for _ in range(2)] for n in (num_gts, num_ignored))
    mined = mine_candidates(
        logits, deltas, priors, DeltaXYWHBBoxCoder(), gts, [dict(img_shape=SIZE)] * 2, ignored, max_num, 0.4, 0.3
    )
    for i in range(2):
        order = sorted(range(num_priors), key=lambda p: -float(logits[i, p]))[:max_num]
        assert mined.inds[i].tolist() == order
        for place, prior in enumerate(order):
            box = decode(priors[prior].tolist(), deltas[i, prior].tolist())
            np.testing.assert_allclose(mined.bboxes[i, place], box, atol=1e-3)
            box = mined.bboxes[i, place].tolist()  # exactly these pixels, for the thresholds
            on = any(overlap(box, gt) >= 0.3 for gt in gts[i].bboxes.tolist())
            set_aside = any(overlap(box, ign, of_box=True) >= 0.3 for ign in ignored[i].bboxes.tolist())
            sure = 1 / (1 + np.exp(-float(logits[i, prior]))) >= 0.4
            empty = box[2] <= box[0] or box[3] <= box[1]
            assert bool(mined.is_false[i, place]) == (sure and not on and not set_aside and not empty)
            assert bool(mined.is_true[i, place]) == (on and not set_aside)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_decoded_in_float32(dtype):
    priors = torch.tensor([[1000.0, 1000, 1032, 1032]])
    logits, deltas = torch.ones(1, 1, dtype=dtype), torch.zeros(1, 1, 4, dtype=dtype)
    metas, nothing = [dict(img_shape=(2000, 2000))], [InstanceData(bboxes=torch.zeros(0, 4))]
    mined = mine_candidates(logits, deltas, priors, DeltaXYWHBBoxCoder(), nothing, metas)
    assert torch.equal(mined.bboxes[0], priors)  # 1033 is no number of bfloat16


def test_no_gradient_goes_through():
    logits, deltas = torch.zeros(1, 3, requires_grad=True), torch.zeros(1, 3, 4, requires_grad=True)
    nothing = [InstanceData(bboxes=torch.zeros(0, 4))]
    mined = mine_candidates(logits, deltas, torch.rand(3, 4), DeltaXYWHBBoxCoder(), nothing, [dict(img_shape=(9, 9))])
    assert not mined.bboxes.requires_grad and not mined.scores.requires_grad
