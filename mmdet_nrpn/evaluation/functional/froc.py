from typing import NamedTuple, Tuple

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps

from ..ground_truth import Objects
from .proposal_recall import match_proposals

FOUND, FALSE, NEITHER = 1, 0, -1


class FROCCurve(NamedTuple):
    """Free-response ROC. A point takes all detections from a score on; the first takes none.

    Attributes:
        thresholds (np.ndarray): The different scores from the highest down, after infinity, (P,).
        recall (np.ndarray): Share of objects found, (P,); nan without objects.
        fppi (np.ndarray): False detections per image, (P,).
    """

    thresholds: np.ndarray
    recall: np.ndarray
    fppi: np.ndarray

    def recall_at(self, rates: np.ndarray) -> np.ndarray:
        """The largest recall with at most so many false detections per image, not interpolated, (R,)."""
        return self.recall[np.searchsorted(self.fppi, rates, side='right') - 1]

    def reaching(self, recall: float) -> Tuple[float, float]:
        """The highest threshold with this recall, and its false detections per image; nan if there is none."""
        reached = np.flatnonzero(self.recall >= recall)
        return (self.thresholds[reached[0]], self.fppi[reached[0]]) if len(reached) else (np.nan, np.nan)


def froc_curve(scores: np.ndarray, state: np.ndarray, num_objects: int, num_images: int) -> FROCCurve:
    """The curve of the detections of all images, (N,) in any order, from their ``match_detections``.

    Example:
        >>> froc_curve(np.array([0.9, 0.9, 0.5]), np.array([1, 0, 1]), num_objects=4, num_images=2).recall.tolist()
        [0.0, 0.25, 0.5]
    """
    falling, place = np.unique(-scores, return_inverse=True)
    found, false = (
        np.append(0, np.bincount(place, state == kind, minlength=len(falling)).cumsum()) for kind in (FOUND, FALSE)
    )
    recall = found / num_objects if num_objects else np.full(len(found), np.nan)
    return FROCCurve(np.append(np.inf, -falling), recall, false / num_images)


def match_detections(
    bboxes: torch.Tensor, labels: np.ndarray, objects: Objects, ignored: Objects, iou_thrs: np.ndarray
) -> np.ndarray:
    """Match detections of an image to objects of their class as COCOeval does (``match_proposals``).

    Args:
        bboxes (Tensor): (x1, y1, x2, y2) in falling order of score, (N, 4) float64.
        labels (np.ndarray): Their classes, (N,).
        objects (Objects): In the same pixels.
        ignored (Objects): Which a detection that finds no object may lie in by that share of its area.
        iou_thrs (np.ndarray): Thresholds, (T,).

    Returns:
        np.ndarray: 1 found an object, 0 is false, -1 is neither, (T, N) int8.
    """
    ious, shares = (
        bbox_overlaps(bboxes, torch.from_numpy(group.bboxes), mode=mode).numpy()
        * ((labels[:, None] == group.labels) | (group.labels < 0))
        for group, mode in ((objects, 'iou'), (ignored, 'iof'))
    )
    ranks = match_proposals(ious, iou_thrs, np.full((1, len(objects.labels)), True))[:, 0]
    on_ignored = shares.max(axis=1, initial=0) >= np.minimum(iou_thrs, 1 - 1e-10)[:, None]
    state = np.where(on_ignored, NEITHER, FALSE).astype(np.int8)
    thr_inds, gt_inds = np.nonzero(ranks < len(bboxes))
    state[thr_inds, ranks[thr_inds, gt_inds]] = FOUND
    return state
