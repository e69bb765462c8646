import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_nrpn.models.utils import false_positives, objectness_logits


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def intersection(a, b):
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def by_loops(bboxes, scores, gts, ignored, score_thr, iou_thr, max_num):
    found = []
    for i in sorted(range(len(bboxes)), key=lambda i: -scores[i]):
        on_object = scores[i] < score_thr
        for gt in gts:
            inter = intersection(bboxes[i], gt)
            on_object |= inter / max(area(bboxes[i]) + area(gt) - inter, 1e-6) >= iou_thr
        for gt in ignored:
            on_object |= intersection(bboxes[i], gt) / max(area(bboxes[i]), 1e-6) >= iou_thr
        if not on_object:
            found.append(i)
    return set(found[:max_num])


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 10**6), st.integers(0, 40), st.integers(0, 4), st.integers(0, 3), st.sampled_from([None, 1, 5, 100])
)
def test_equals_a_triple_loop(seed, num, num_gts, num_ignored, max_num):
    rng = np.random.default_rng(seed)

    def boxes(n):
        corner = rng.integers(0, 20, (n, 2))
        return np.concatenate([corner, corner + rng.integers(0, 12, (n, 2))], axis=1).astype(np.float32)

    bboxes, gts, ignored = boxes(num), boxes(num_gts), boxes(num_ignored)
    scores = rng.permutation(num).astype(np.float32) / max(num, 1)  # distinct: which of equals is kept is open
    # no quotient of small integers is this threshold, so rounding decides nothing
    mask = false_positives(
        *map(torch.tensor, (bboxes, scores, gts, ignored)), score_thr=0.3, iou_thr=0.3001, max_num=max_num
    )
    expected = by_loops(bboxes.tolist(), scores.tolist(), gts.tolist(), ignored.tolist(), 0.3, 0.3001, max_num)
    assert set(mask.nonzero().flatten().tolist()) == expected


def test_a_proposal_inside_a_crowd_is_no_false_positive():
    crowd = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    inside = torch.tensor([[10.0, 10.0, 20.0, 20.0]])  # IoU with the crowd is 0.01
    none = torch.zeros(0, 4)
    assert false_positives(inside, torch.ones(1), none).item()
    assert not false_positives(inside, torch.ones(1), none, crowd).item()


def test_order_of_proposals_does_not_matter_and_inputs_stay_as_they_are():
    rng = torch.Generator().manual_seed(0)
    bboxes = torch.rand(50, 4, generator=rng).cumsum(1) * 30
    scores, gts = torch.rand(50, generator=rng), torch.tensor([[10.0, 20.0, 40.0, 60.0]])
    before = bboxes.clone(), scores.clone(), gts.clone()
    mask = false_positives(bboxes, scores, gts, max_num=7)
    perm = torch.randperm(50, generator=rng)
    assert (false_positives(bboxes[perm], scores[perm], gts, max_num=7) == mask[perm]).all()
    assert mask.sum() == 7
    for tensor, old in zip((bboxes, scores, gts), before):
        assert (tensor == old).all()


def test_logits_lie_in_the_order_of_the_anchors():
    # two levels, two anchors a place: value = 100 * level + 10 * place + anchor
    first = torch.tensor([[0.0, 10.0], [20.0, 30.0]])
    maps = [torch.stack([first, first + 1])[None], torch.tensor([[[100.0]], [[101.0]]])[None]]
    flat = objectness_logits([m.requires_grad_() for m in maps])
    assert flat.tolist() == [[0, 1, 10, 11, 20, 21, 30, 31, 100, 101]]
    assert not flat.requires_grad
