import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmengine.structures import InstanceData

from mmdet_nrpn.utils import false_positives, mine_candidates, objectness_logits

SIZE = (60, 80)  # height, width
NOTHING = InstanceData(bboxes=torch.zeros(0, 4))


def clipped(box):
    return [min(max(v, 0), limit) for v, limit in zip(box, (SIZE[1], SIZE[0]) * 2)]


def overlap(box, other, of_box=False):
    """IoU of two boxes, or the share of the first that lies in the second, by hand."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    whole = areas[0] if of_box else sum(areas) - both
    return both / max(whole, 1e-6)


def decode(anchor, delta):
    x, y, w, h = (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2, anchor[2] - anchor[0], anchor[3] - anchor[1]
    x, y = x + delta[0] * w, y + delta[1] * h
    w, h = w * np.exp(delta[2]), h * np.exp(delta[3])
    return clipped([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def boxes(rng, num):
    """Also across the image's border, and outside."""
    corners = np.sort(rng.uniform(-40, 100, (num, 2, 2)), axis=1)
    return torch.tensor(np.concatenate([corners[:, 0], corners[:, 1] + 1], axis=1), dtype=torch.float32)


@given(
    seed=st.integers(0, 10**6),
    num_anchors=st.integers(1, 40),
    max_num=st.integers(1, 50),
    num_gts=st.integers(0, 4),
    num_ignored=st.integers(0, 2),
)
def test_candidates_against_a_loop(seed, num_anchors, max_num, num_gts, num_ignored):
    rng = np.random.default_rng(seed)
    anchors = boxes(rng, num_anchors)
    deltas = torch.tensor(rng.normal(0, 0.5, (2, num_anchors, 4)), dtype=torch.float32)
    logits = torch.tensor(rng.permutation(2 * num_anchors).reshape(2, -1) - num_anchors, dtype=torch.float32) / 4
    valid = torch.tensor(rng.random((2, num_anchors)) < 0.7)
    gts, ignored = ([InstanceData(bboxes=boxes(rng, n)) for _ in range(2)] for n in (num_gts, num_ignored))
    mined = mine_candidates(
        logits, deltas, anchors, valid, DeltaXYWHBBoxCoder(), gts, [dict(img_shape=SIZE)] * 2, ignored, max_num, 0.3
    )
    for i in range(2):
        order = sorted((a for a in range(num_anchors) if valid[i, a]), key=lambda a: -float(logits[i, a]))[:max_num]
        assert mined.inds[i, : len(order)].tolist() == order
        assert not (mined.is_false | mined.is_true)[i, len(order) :].any()
        for place, anchor in enumerate(order):
            box = decode(anchors[anchor].tolist(), deltas[i, anchor].tolist())
            np.testing.assert_allclose(mined.bboxes[i, place], box, atol=1e-3)
            assert mined.logits[i, place] == logits[i, anchor]
            box = mined.bboxes[i, place].tolist()  # exactly these pixels, for the thresholds
            on = any(overlap(box, clipped(gt)) >= 0.3 for gt in gts[i].bboxes.tolist())
            set_aside = any(overlap(box, clipped(ign), of_box=True) >= 0.3 for ign in ignored[i].bboxes.tolist())
            counts = not set_aside and box[2] > box[0] and box[3] > box[1]
            assert bool(mined.is_false[i, place]) == (counts and not on)
            assert bool(mined.is_true[i, place]) == (counts and on)


def mine_one(logits, bboxes, valid, gts=NOTHING, size=(128, 128), **kwargs):
    deltas = torch.zeros(1, len(bboxes), 4)
    metas, logits, valid = [dict(img_shape=size)], torch.tensor([logits]), torch.tensor([valid])
    return mine_candidates(
        logits, deltas, torch.tensor(bboxes), valid, DeltaXYWHBBoxCoder(), [gts], metas, **kwargs
    )  # fmt: skip


def test_padding_takes_no_candidates():
    """Of two anchors the second lies in padding and has the better score."""
    boxes = [[0.0, 0, 32, 32], [64.0, 0, 96, 32]]
    mined = mine_one([1.0, 2.0], boxes, [True, False], size=(32, 32), max_num=1)
    assert mined.inds.tolist() == [[0]] and mined.is_false.sum() == 1


def test_an_object_across_the_border_is_compared_as_its_proposal_is():
    """An amodal box, and a proposal equal to it: the proposal is clipped, so the object is, too."""
    box = [-46.0, 8.0, 18.0, 72.0]
    gts = InstanceData(bboxes=torch.tensor([box]))
    mined = mine_one([1.0], [box], [True], gts)
    assert mined.is_true.all() and not mined.is_false.any()
    on_ignored = mine_candidates(
        torch.ones(1, 1), torch.zeros(1, 1, 4), torch.tensor([box]), torch.ones(1, 1, dtype=torch.bool),
        DeltaXYWHBBoxCoder(), [NOTHING], [dict(img_shape=(128, 128))], [gts],
    )  # fmt: skip
    assert not on_ignored.is_true.any() and not on_ignored.is_false.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_decoded_in_float32(dtype):
    anchors, valid = torch.tensor([[1000.0, 1000, 1032, 1032]]), torch.ones(1, 1, dtype=torch.bool)
    logits, deltas = torch.ones(1, 1, dtype=dtype), torch.zeros(1, 1, 4, dtype=dtype)
    metas = [dict(img_shape=(2000, 2000))]
    mined = mine_candidates(logits, deltas, anchors, valid, DeltaXYWHBBoxCoder(), [NOTHING], metas)
    assert torch.equal(mined.bboxes[0], anchors)  # 1033 is no number of bfloat16


def test_no_gradient_goes_through():
    logits, deltas = torch.zeros(1, 3, requires_grad=True), torch.zeros(1, 3, 4, requires_grad=True)
    metas, valid = [dict(img_shape=(9, 9))], torch.ones(1, 3, dtype=torch.bool)
    mined = mine_candidates(logits, deltas, torch.rand(3, 4), valid, DeltaXYWHBBoxCoder(), [NOTHING], metas)
    assert not mined.bboxes.requires_grad and not mined.logits.requires_grad


def test_memory_grows_linearly_with_anchors():
    def allocated(num_anchors):
        logits, valid = torch.randn(2, num_anchors), torch.ones(2, num_anchors, dtype=torch.bool)
        objects = [InstanceData(bboxes=torch.rand(8, 4).cumsum(1) * 50)] * 2
        deltas, metas = torch.zeros(2, num_anchors, 4), [dict(img_shape=SIZE)] * 2
        with torch.profiler.profile(profile_memory=True) as profile:
            mine_candidates(logits, deltas, torch.rand(num_anchors, 4), valid, DeltaXYWHBBoxCoder(), objects, metas)
        return sum(max(event.self_cpu_memory_usage, 0) for event in profile.key_averages())

    assert allocated(80_000) < 4.2 * allocated(20_000)


@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(0, 4), st.integers(0, 3))
def test_false_positives_equal_a_triple_loop(seed, num, num_gts, num_ignored):
    rng = np.random.default_rng(seed)

    def boxes(n):
        corner = rng.integers(0, 20, (n, 2))
        return np.concatenate([corner, corner + rng.integers(0, 12, (n, 2))], axis=1).astype(np.float32)

    bboxes, gts, ignored = boxes(num), boxes(num_gts), boxes(num_ignored)
    # no quotient of small integers is this threshold, so rounding decides nothing
    mask = false_positives(*map(torch.tensor, (bboxes, gts, ignored)), iou_thr=0.3001)
    for box, is_false in zip(bboxes.tolist(), mask.tolist()):
        on_object = any(overlap(box, gt) >= 0.3001 for gt in gts.tolist())
        on_object |= any(overlap(box, ign, of_box=True) >= 0.3001 for ign in ignored.tolist())
        assert is_false is not on_object


def test_a_proposal_inside_a_crowd_is_no_false_positive():
    crowd = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    inside = torch.tensor([[10.0, 10.0, 20.0, 20.0]])  # IoU with the crowd is 0.01
    none = torch.zeros(0, 4)
    assert false_positives(inside, none).item()
    assert not false_positives(inside, none, crowd).item()


def test_logits_lie_in_the_order_of_the_anchors():
    # two levels, two anchors per place: value = 100 * level + 10 * place + anchor
    first = torch.tensor([[0.0, 10.0], [20.0, 30.0]])
    maps = [torch.stack([first, first + 1])[None], torch.tensor([[[100.0]], [[101.0]]])[None]]
    assert objectness_logits(maps).tolist() == [[0, 1, 10, 11, 20, 21, 30, 31, 100, 101]]
