from typing import List, NamedTuple, Optional

import numpy as np
import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from ..models.utils import false_positives, in_float32

# A box that overlaps another by this IoU is at the same place.
SAME_PLACE = 0.5
# So many proposals, and so many of nRPN's regions, are looked at.
BEST = 100


class Look(NamedTuple):
    """What an RPN makes of one picture, and its nRPN if it has one. Boxes are (x1, y1, x2, y2), best scores first.

    Attributes:
        objects (np.ndarray): (G, 4).
        found (np.ndarray): Whether one of the RPN's 100 best proposals overlaps the object by 0.5, (G,) bool.
        ignored (np.ndarray): Ignored objects, (K, 4).
        false_positives (np.ndarray): Those of the 100 best proposals that are on no object, (F, 4).
        false_positive_scores (np.ndarray): Their objectness in [0, 1], (F,).
        regions (np.ndarray): nRPN's 100 best regions, (R, 4). Empty without an nRPN.
        region_scores (np.ndarray): Its objectness of them in [0, 1], (R,).
        foreseen (np.ndarray): Whether one of nRPN's regions overlaps the false positive by 0.5, (F,) bool.
    """

    objects: np.ndarray
    found: np.ndarray
    ignored: np.ndarray
    false_positives: np.ndarray
    false_positive_scores: np.ndarray
    regions: np.ndarray
    region_scores: np.ndarray
    foreseen: np.ndarray


class DrawnNegatives(NamedTuple):
    """The negatives that a sampler drew of a picture: anchors (x1, y1, x2, y2) in pixels of the input, (N, 4)."""

    hard: np.ndarray
    random: np.ndarray


@torch.no_grad()
def look(
    head: RPNHead, outs: tuple, nrpn_outs: Optional[tuple], batch_data_samples: SampleList, rescale: bool = False
) -> List[Look]:
    """Sort out what an RPN and its nRPN said of a batch (ours).

    Args:
        head (RPNHead): The RPN; a ``HardNegativeRPNHead`` if there is an nRPN.
        outs (tuple): What ``head`` returned: objectness and box deltas, a list of levels each.
        nrpn_outs (tuple, optional): What ``head.nrpn_head`` returned.
        batch_data_samples (list[DetDataSample]): With ``gt_instances`` and maybe ``ignored_instances``, in pixels of
            the input, or with ``rescale`` of the original picture, as test pipelines leave them.
        rescale (bool): Give boxes in pixels of the original picture. Defaults to False: of the input.

    Returns:
        list[Look]: One a picture.
    """
    metas = [sample.metainfo for sample in batch_data_samples]
    outs = in_float32(outs)
    proposals = head.predict_by_feat(*outs, batch_img_metas=metas, rescale=rescale)
    if nrpn_outs is None:
        none = proposals[0][:0]
        regions = [none] * len(proposals)
    else:
        regions = head.predict_nrpn_by_feat(in_float32(nrpn_outs), outs[1], metas, rescale)
    return [_look(*picture) for picture in zip(proposals, regions, batch_data_samples)]


def _look(proposals: InstanceData, regions: InstanceData, sample: InstanceData) -> Look:
    proposals, regions = proposals[:BEST], regions[:BEST]
    objects = get_box_tensor(sample.gt_instances.bboxes)
    ignored = get_box_tensor(sample.ignored_instances.bboxes) if 'ignored_instances' in sample else objects[:0]
    mask = false_positives(proposals.bboxes, proposals.scores, objects, ignored)
    wrong = proposals[mask]
    parts = (
        objects,
        in_same_place(objects, proposals.bboxes),
        ignored,
        wrong.bboxes,
        wrong.scores,
        regions.bboxes,
        regions.scores,
        in_same_place(wrong.bboxes, regions.bboxes),
    )
    return Look(*(part.cpu().numpy() for part in parts))


def in_same_place(bboxes: Tensor, others: Tensor) -> Tensor:
    """Which boxes have another in their place, by an IoU of 0.5.

    Args:
        bboxes (Tensor): (N, 4).
        others (Tensor): (K, 4) in the same pixels.

    Returns:
        Tensor: (N,) bool.
    """
    if len(others) == 0:
        return bboxes.new_zeros(len(bboxes), dtype=torch.bool)
    return bbox_overlaps(bboxes.float(), others.float()).max(dim=1).values >= SAME_PLACE
