import numpy as np


def match_proposals(ious: np.ndarray, iou_thrs: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Match proposals to objects as COCOeval does, for all thresholds and groups of objects at once.

    From the best score down, each proposal takes the object that it overlaps most among those of the group that
    are still free and that it overlaps by the threshold (of equals the last). A proposal thus never depends on a
    worse one: recall at a budget N is the share of objects whose rank is below N. Ignored objects do not take
    part: a proposal turns to them only where no object is left for it.

    Args:
        ious (np.ndarray): Of proposals in falling order of score and of objects, (N, G).
        iou_thrs (np.ndarray): Thresholds, (T,).
        groups (np.ndarray): Which objects are in which group, (S, G) bool; objects of other groups count as
            ignored.

    Returns:
        np.ndarray: Rank (from 0) of the proposal that found the object, (T, S, G) int; N where none did and where
        the object is not in the group.

    Example:
        >>> ious = np.array([[.6, .55], [.8, .2]])  # the second proposal fits better, the first one was sooner
        >>> match_proposals(ious, np.array([.5, .7]), np.array([[True, True]])).tolist()
        [[[0, 2]], [[1, 2]]]
    """
    num = len(ious)
    ranks = np.full((len(iou_thrs), *groups.shape), num)
    if ious.size == 0:
        return ranks
    thrs = np.minimum(iou_thrs, 1 - 1e-10)[:, None, None]  # COCOeval's own bound
    free = np.broadcast_to(groups, ranks.shape).copy()
    last = ious.shape[1] - 1
    lowest_free = np.full(ious.shape[1], thrs.min())  # the lowest threshold at which an object is still free
    for rank in np.flatnonzero((ious >= thrs.min()).any(axis=1)):
        if not (ious[rank] >= lowest_free).any():
            continue
        overlap = np.where(free & (ious[rank] >= thrs), ious[rank], -1.0)
        best = last - overlap[..., ::-1].argmax(axis=-1)
        thr_ind, group_ind = np.nonzero(overlap.max(axis=-1) >= 0)
        found = (thr_ind, group_ind, best[thr_ind, group_ind])
        ranks[found] = rank
        free[found] = False
        lowest_free = np.where(free, thrs, np.inf).min(axis=(0, 1))
    return ranks
