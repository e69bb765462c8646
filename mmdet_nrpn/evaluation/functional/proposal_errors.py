from typing import List, NamedTuple, Optional

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from ...utils import bboxes_of, clip_bboxes, false_positives, in_float32, max_ious

# From this IoU on, two boxes are in the same place.
SAME_PLACE_IOU = 0.5
# Proposals per image that are compared with objects, and nRPN's regions per image.
TOP_K = 100


class ProposalErrors(NamedTuple):
    """What an RPN gets wrong on one image, and what its nRPN proposes. Boxes are (x1, y1, x2, y2), best scores first.

    Attributes:
        gt_bboxes (np.ndarray): Objects, (G, 4).
        gt_ranks (np.ndarray): Rank, from 1, of the first proposal that overlaps the object by 0.5; 101 for none, (G,).
        ignored_bboxes (np.ndarray): Ignored objects, (K, 4).
        false_positives (np.ndarray): Those of the top 100 proposals that are on no object, (F, 4).
        false_positive_scores (np.ndarray): Their objectness in [0, 1], (F,).
        false_positive_ranks (np.ndarray): Their ranks among the proposals, from 1, (F,).
        regions (np.ndarray): nRPN's top 100 regions, (R, 4). Empty without an nRPN.
        region_scores (np.ndarray): Its objectness of them in [0, 1], (R,).
        predicted_by_nrpn (np.ndarray): Whether one of nRPN's regions overlaps the false positive by 0.5, (F,) bool.
    """

    gt_bboxes: np.ndarray
    gt_ranks: np.ndarray
    ignored_bboxes: np.ndarray
    false_positives: np.ndarray
    false_positive_scores: np.ndarray
    false_positive_ranks: np.ndarray
    regions: np.ndarray
    region_scores: np.ndarray
    predicted_by_nrpn: np.ndarray


class SampledNegatives(NamedTuple):
    """The negatives that a sampler took of one image: anchors (x1, y1, x2, y2) in pixels of the input, (N, 4)."""

    hard: np.ndarray
    random: np.ndarray


@torch.no_grad()
def find_proposal_errors(
    head: RPNHead, outs: tuple, nrpn_outs: Optional[tuple], batch_data_samples: SampleList, rescale: bool = False
) -> List[ProposalErrors]:
    """Compare the proposals of an RPN, and the regions of its nRPN, with the objects (not in the paper).

    Args:
        head (RPNHead): The RPN; a ``HardNegativeRPNHead`` if there is an nRPN.
        outs (tuple): What ``head`` returned: objectness and box deltas, a list of levels each.
        nrpn_outs (tuple, optional): What ``head.nrpn_head`` returned.
        batch_data_samples (list[DetDataSample]): With ``gt_instances`` and maybe ``ignored_instances``, in pixels of
            the input, or with ``rescale`` of the original image.
        rescale (bool): Give boxes in pixels of the original image. Defaults to False: of the input.

    Returns:
        list[ProposalErrors]: One per image.
    """
    metas = [sample.metainfo for sample in batch_data_samples]
    outs = in_float32(outs)
    proposals = head.predict_by_feat(*outs, batch_img_metas=metas, rescale=rescale)
    if nrpn_outs is None:
        regions = [of_image[:0] for of_image in proposals]
    else:
        regions = head.predict_nrpn_by_feat(nrpn_outs, outs, metas, rescale)
    shapes = [meta.get('ori_shape' if rescale else 'img_shape') for meta in metas]
    return [_errors_of_image(*image) for image in zip(proposals, regions, batch_data_samples, shapes)]


def _errors_of_image(
    proposals: InstanceData, regions: InstanceData, sample: DetDataSample, shape: Optional[tuple]
) -> ProposalErrors:
    proposals, regions = proposals[:TOP_K], regions[:TOP_K]
    objects = (sample.get(key) for key in ('gt_instances', 'ignored_instances'))
    gt_bboxes, ignored_bboxes = (bboxes_of(instances, proposals.bboxes) for instances in objects)
    compared = [proposals.bboxes, gt_bboxes, ignored_bboxes]
    if shape is not None:  # proposals are clipped to the image, and annotations need not be
        compared = [clip_bboxes(boxes, shape) for boxes in compared]
    is_wrong = false_positives(*compared)
    wrong, ranks = proposals[is_wrong], torch.arange(1, len(is_wrong) + 1, device=is_wrong.device)
    found = bbox_overlaps(compared[1], compared[0]) >= SAME_PLACE_IOU
    gt_ranks = F.pad(torch.where(found, ranks, TOP_K + 1), (0, 1), value=TOP_K + 1).amin(dim=1)
    predicted = max_ious(wrong.bboxes, regions.bboxes) >= SAME_PLACE_IOU
    of_wrong = wrong.bboxes, wrong.scores, ranks[is_wrong]
    parts = gt_bboxes, gt_ranks, ignored_bboxes, *of_wrong, regions.bboxes, regions.scores, predicted
    return ProposalErrors(*(part.cpu().numpy() for part in parts))
