"""What an RPN gets wrong, as pure functions. N images, A anchors per image, K candidates per image, G objects."""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import torch
from mmdet.models.task_modules.coders.base_bbox_coder import BaseBBoxCoder
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmdet.utils import InstanceList, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Candidates(NamedTuple):
    """The top-K valid anchors of each image by an RPN's objectness, best first, compared with the objects.

    Attributes:
        inds (Tensor): Indices of the anchors, (N, K).
        bboxes (Tensor): Their decoded boxes (x1, y1, x2, y2), clipped to the image, in pixels of the input, (N, K, 4).
        logits (Tensor): The RPN's objectness logits, (N, K) float32.
        is_false (Tensor): Decoded box on no object and on no ignored one, (N, K) bool.
        is_true (Tensor): Decoded box on an object and on no ignored one, (N, K) bool. An anchor that is neither is
            invalid, lies on an ignored object, or has a box without area.
    """

    inds: Tensor
    bboxes: Tensor
    logits: Tensor
    is_false: Tensor
    is_true: Tensor


def bboxes_of(instances: Optional[InstanceData], like: Tensor) -> Tensor:
    """The boxes of objects, (G, 4) as ``like`` is; none where there are no objects. They may be NumPy arrays."""
    bboxes = None if instances is None else instances.get('bboxes')
    return like.new_zeros(0, 4) if bboxes is None else torch.as_tensor(get_box_tensor(bboxes)).to(like).view(-1, 4)


def clip_bboxes(bboxes: Tensor, img_shape: Tuple[int, ...]) -> Tensor:
    """Boxes (..., 4) clipped to an image of ``img_shape`` (height, width), in pixels."""
    height, width = img_shape[:2]
    x, y = bboxes[..., 0::2].clamp(0, width), bboxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], dim=-1).flatten(-2)


def max_ious(bboxes: Tensor, gt_bboxes: Tensor, mode: str = 'iou') -> Tensor:
    """The largest IoU of each box with an object.

    Args:
        bboxes (Tensor): (x1, y1, x2, y2) in pixels, (M, 4) or (N, M, 4).
        gt_bboxes (Tensor): Objects in the same pixels, (G, 4) or (N, G, 4).
        mode (str): 'iou', or 'iof' for the share of the box inside the object. Defaults to 'iou'.

    Returns:
        Tensor: (M,) or (N, M) float32, 0 without objects.
    """
    if gt_bboxes.numel() == 0:
        return bboxes.new_zeros(bboxes.shape[:-1], dtype=torch.float32)
    return bbox_overlaps(bboxes.float(), get_box_tensor(gt_bboxes).float(), mode=mode).amax(dim=-1)


def on_ignored(bboxes: Tensor, ignored_bboxes: Optional[Tensor], iof_thr: float) -> Tensor:
    """Which boxes lie on an ignored object (VOC's difficult, COCO's crowd).

    The overlap is the share of the box inside the ignored one (IoF), as in COCO's evaluation of crowds. The IoU of one
    object with a crowd of many is small.

    Args:
        bboxes (Tensor): (x1, y1, x2, y2) in pixels, (M, 4) or (N, M, 4).
        ignored_bboxes (Tensor, optional): Ignored objects in the same pixels, (G, 4) or (N, G, 4).
        iof_thr (float): From this share on, a box lies on an ignored object.

    Returns:
        Tensor: Mask, (M,) or (N, M) bool.
    """
    return max_ious(bboxes, bboxes[:0] if ignored_bboxes is None else ignored_bboxes, 'iof') >= iof_thr


@torch.no_grad()
def false_positives(
    bboxes: Tensor, gt_bboxes: Tensor, ignored_bboxes: Optional[Tensor] = None, iou_thr: float = 0.3
) -> Tensor:
    """Which proposals lie on no object and on no ignored one.

    Proposals and objects must be in the same frame: both clipped to the image, or neither.

    Args:
        bboxes (Tensor): Proposals (x1, y1, x2, y2) in pixels, (M, 4).
        gt_bboxes (Tensor): Objects in the same pixels, (G, 4).
        ignored_bboxes (Tensor, optional): Ignored objects. See :func:`on_ignored`.
        iou_thr (float): A proposal lies on an object from this IoU on, and on an ignored one from this share of its
            own area on. Defaults to 0.3, an RPN's own bound of a negative.

    Returns:
        Tensor: Mask, (M,) bool.

    Example:
        >>> bboxes = torch.tensor([[0., 0, 10, 10], [20, 20, 30, 30]])
        >>> false_positives(bboxes, torch.tensor([[0., 0, 10, 9]]))
        tensor([False,  True])
    """
    return (max_ious(bboxes, gt_bboxes) < iou_thr) & ~on_ignored(bboxes, ignored_bboxes, iou_thr)


@torch.no_grad()
def mine_candidates(
    logits: Tensor,
    bbox_preds: Tensor,
    anchors: Tensor,
    valid: Tensor,
    bbox_coder: BaseBBoxCoder,
    batch_gt_instances: InstanceList,
    batch_img_metas: List[dict],
    batch_gt_instances_ignore: OptInstanceList = None,
    max_num: int = 300,
    iou_thr: float = 0.3,
) -> Candidates:
    """Compare an RPN's top-K valid anchors with the objects, before NMS (not in the paper, which takes proposals).

    Boxes and objects are clipped to the image before they are compared. Time grows linearly with the number of
    anchors.

    Args:
        logits (Tensor): Objectness, (N, A).
        bbox_preds (Tensor): Box deltas, (N, A, box_dim).
        anchors (Tensor): (A, 4) in pixels of the input.
        valid (Tensor): Anchors that belong to each image and not to its padding, (N, A) bool.
        bbox_coder (BaseBBoxCoder): Decodes the deltas.
        batch_gt_instances (list[InstanceData]): Objects.
        batch_img_metas (list[dict]): With ``img_shape``.
        batch_gt_instances_ignore (list[InstanceData | None], optional): Ignored objects.
        max_num (int): K. All valid anchors if there are fewer. Defaults to 300.
        iou_thr (float): A box lies on an object from this IoU on. Defaults to 0.3.

    Returns:
        Candidates: On the device of ``logits``, without gradient.
    """
    logits, inds = logits.float().masked_fill(~valid, -torch.inf).topk(min(max_num, logits.shape[1]), dim=1)
    deltas = bbox_preds.float().gather(1, inds[..., None].expand(-1, -1, bbox_preds.shape[-1]))
    bboxes = get_box_tensor(bbox_coder.decode(anchors[inds.flatten()], deltas.flatten(0, 1))).view(*inds.shape, 4)
    sizes = [meta['img_shape'] for meta in batch_img_metas]
    bboxes = torch.stack([clip_bboxes(*image) for image in zip(bboxes, sizes)])
    set_aside = on_ignored(bboxes, _padded(batch_gt_instances_ignore or [None] * len(sizes), sizes, bboxes), iou_thr)
    is_true = max_ious(bboxes, _padded(batch_gt_instances, sizes, bboxes)) >= iou_thr
    counts = valid.gather(1, inds) & ~set_aside & (bboxes[..., 2:] > bboxes[..., :2]).all(-1)
    return Candidates(inds, bboxes, logits, ~is_true & counts, is_true & counts)


def _padded(batch_instances: Sequence[Optional[InstanceData]], sizes: list, like: Tensor) -> Tensor:
    """Objects clipped to their images, (N, G, 4), with empty boxes at the origin where an image has fewer."""
    objects = [clip_bboxes(bboxes_of(instances, like), size) for instances, size in zip(batch_instances, sizes)]
    return pad_sequence(objects, batch_first=True)
