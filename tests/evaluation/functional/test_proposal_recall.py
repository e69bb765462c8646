import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_nrpn.evaluation import match_proposals


def by_loops(ious, thr, group):
    """COCOeval's loop for one threshold and one group of objects."""
    ranks = [len(ious)] * ious.shape[1]
    for rank, row in enumerate(ious):
        best, found = min(thr, 1 - 1e-10), None
        for gt, iou in enumerate(row):
            if group[gt] and ranks[gt] == len(ious) and iou >= best:
                best, found = iou, gt
        if found is not None:
            ranks[found] = rank
    return ranks


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(0, 6))
def test_matches_as_cocoeval_loops(seed, num, num_gts):
    rng = np.random.default_rng(seed)
    ious = rng.integers(0, 11, (num, num_gts)) / 10  # many ties
    thrs, groups = np.array([0.5, 0.7, 1.0]), rng.random((2, num_gts)) < 0.7
    ranks = match_proposals(ious, thrs, groups)
    for t, thr in enumerate(thrs):
        for s, group in enumerate(groups):
            assert ranks[t, s].tolist() == by_loops(ious, thr, group)
