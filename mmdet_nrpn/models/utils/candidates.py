from typing import List, NamedTuple

import torch
from mmdet.models.task_modules.coders.base_bbox_coder import BaseBBoxCoder
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList, OptInstanceList
from torch import Tensor

from .false_positives import false_positives, on_ignored


class Candidates(NamedTuple):
    """The K anchors of each of N pictures that an RPN takes for objects most, best first, and whether it is right.

    Attributes:
        inds (Tensor): Which anchors, (N, K).
        bboxes (Tensor): The boxes they are decoded to, (x1, y1, x2, y2) in pixels of the input, (N, K, 4).
        scores (Tensor): The RPN's objectness in [0, 1], (N, K).
        is_false (Tensor): False positives, (N, K) bool.
        is_true (Tensor): On an object and on no ignored one, (N, K) bool.
    """

    inds: Tensor
    bboxes: Tensor
    scores: Tensor
    is_false: Tensor
    is_true: Tensor


def decode_at(inds: Tensor, bbox_preds: Tensor, priors: Tensor, bbox_coder: BaseBBoxCoder) -> Tensor:
    """The boxes that some anchors of each picture are decoded to.

    Args:
        inds (Tensor): Which anchors, (N, K).
        bbox_preds (Tensor): Box deltas of all, (N, num_priors, box_dim).
        priors (Tensor): Anchors, (num_priors, 4) in pixels of the input.
        bbox_coder (BaseBBoxCoder): What decodes the deltas.

    Returns:
        Tensor: (x1, y1, x2, y2) in pixels of the input, (N, K, 4).
    """
    deltas = bbox_preds.float().gather(1, inds[..., None].expand(-1, -1, bbox_preds.shape[-1]))
    return get_box_tensor(bbox_coder.decode(priors[inds.flatten()], deltas.flatten(0, 1))).view(*inds.shape, 4)


@torch.no_grad()
def mine_candidates(
    objectness: Tensor,
    bbox_preds: Tensor,
    priors: Tensor,
    bbox_coder: BaseBBoxCoder,
    batch_gt_instances: InstanceList,
    batch_img_metas: List[dict],
    batch_gt_instances_ignore: OptInstanceList = None,
    max_num: int = 1000,
    score_thr: float = 0.3,
    iou_thr: float = 0.3,
) -> Candidates:
    """Look at an RPN's surest anchors, before NMS, for what it gets wrong (ours: the paper looks at its proposals).

    NMS would leave one anchor a mistake; here every anchor that makes it is one to learn from. The order of the
    anchors does not matter, and time grows linearly with their number.

    Args:
        objectness (Tensor): Logits, (N, num_priors).
        bbox_preds (Tensor): Box deltas, (N, num_priors, box_dim).
        priors (Tensor): Anchors, (num_priors, 4).
        bbox_coder (BaseBBoxCoder): Decodes the deltas.
        batch_gt_instances (list[InstanceData]): Objects.
        batch_img_metas (list[dict]): With ``img_shape``, to which boxes are cut.
        batch_gt_instances_ignore (list[InstanceData | None], optional): Ignored objects. What lies on one, by
            ``iou_thr`` of its own area, is no false positive.
        max_num (int): How many anchors a picture to look at, K; all if there are fewer. Defaults to 1000.
        score_thr (float): A false positive scores at least this. Defaults to 0.3.
        iou_thr (float): A box that overlaps an object by this IoU is on it, below it is false. Defaults to 0.3.

    Returns:
        Candidates: The anchors, on the device of ``objectness``.
    """
    logits, inds = objectness.float().topk(min(max_num, objectness.shape[1]), dim=1)
    scores = logits.sigmoid()
    bboxes = decode_at(inds, bbox_preds, priors, bbox_coder)
    ignored = batch_gt_instances_ignore or [None] * len(bboxes)
    is_false, is_true = torch.zeros_like(inds, dtype=torch.bool), torch.zeros_like(inds, dtype=torch.bool)
    for i, (gts, ign, meta) in enumerate(zip(batch_gt_instances, ignored, batch_img_metas)):
        height, width = meta['img_shape'][:2]
        bboxes[i, :, 0::2].clamp_(0, width)
        bboxes[i, :, 1::2].clamp_(0, height)
        ignored_bboxes = None if ign is None else ign.bboxes
        is_false[i] = false_positives(bboxes[i], scores[i], gts.bboxes, ignored_bboxes, iou_thr=iou_thr)
        is_true[i] = ~is_false[i] & ~on_ignored(bboxes[i], ignored_bboxes, iou_thr)
    # a box without area, as at the picture's border, is on no object and on nothing else either
    is_false &= (scores >= score_thr) & (bboxes[..., 2:] > bboxes[..., :2]).all(-1)
    return Candidates(inds, bboxes, scores, is_false, is_true)
