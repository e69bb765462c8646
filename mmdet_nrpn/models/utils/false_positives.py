from typing import Optional

import torch
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from torch import Tensor


def on_ignored(bboxes: Tensor, ignored_bboxes: Optional[Tensor], iof_thr: float) -> Tensor:
    """Which boxes lie on an ignored object (VOC's difficult, COCO's crowd).

    The overlap is the share of the box that lies inside the ignored one (IoF), as COCO has it for crowds: a
    crowd's box covers many objects, so one of them alone has a small IoU with it.

    Args:
        bboxes (Tensor): Boxes (x1, y1, x2, y2) in pixels, (N, 4).
        ignored_bboxes (Tensor, optional): Ignored boxes in the same pixels, (K, 4).
        iof_thr (float): From this share on, a box lies on an ignored object.

    Returns:
        Tensor: Mask, (N,) bool.
    """
    if ignored_bboxes is None or len(ignored_bboxes) == 0:
        return bboxes.new_zeros(len(bboxes), dtype=torch.bool)
    iof = bbox_overlaps(bboxes.float(), get_box_tensor(ignored_bboxes).float(), mode='iof')
    return iof.max(dim=1).values >= iof_thr


@torch.no_grad()
def false_positives(
    bboxes: Tensor,
    scores: Tensor,
    gt_bboxes: Tensor,
    ignored_bboxes: Optional[Tensor] = None,
    score_thr: float = 0.0,
    iou_thr: float = 0.3,
    max_num: Optional[int] = None,
) -> Tensor:
    """Which proposals are false positives: of a good score, and on no object (DESIGN: nRPN's ground truth).

    Args:
        bboxes (Tensor): Proposals (x1, y1, x2, y2) in pixels, (N, 4), in any order.
        scores (Tensor): Their objectness in [0, 1], (N,).
        gt_bboxes (Tensor): Objects in the same pixels, (G, 4).
        ignored_bboxes (Tensor, optional): Ignored objects, (K, 4). See :func:`on_ignored`.
        score_thr (float): A false positive scores at least this. Defaults to 0, which takes every score.
        iou_thr (float): A proposal that overlaps an object by this IoU, or lies by this share on an ignored one,
            is no false positive. Defaults to 0.3, the paper's and RPN's own bound of a negative.
        max_num (int, optional): Only the so many highest scores. Defaults to None, all.

    Returns:
        Tensor: Mask, (N,) bool.

    Example:
        >>> bboxes = torch.tensor([[0., 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
        >>> false_positives(bboxes, torch.tensor([.9, .8, .1]), torch.tensor([[0., 0, 10, 9]]), score_thr=.5)
        tensor([False,  True, False])
    """
    mask = (scores >= score_thr) & ~on_ignored(bboxes, ignored_bboxes, iou_thr)
    if len(gt_bboxes) > 0:
        ious = bbox_overlaps(bboxes.float(), get_box_tensor(gt_bboxes).float())
        mask &= ious.max(dim=1).values < iou_thr
    if max_num is not None:
        order = scores.argsort(descending=True, stable=True)
        mask[order] = mask[order] & (mask[order].cumsum(0) <= max_num)
    return mask
