"""What the parts of a training step hand on: N images, A anchors per image, boxes in pixels of the input."""

from typing import List, NamedTuple, Tuple

from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.utils import InstanceList, OptInstanceList
from torch import Tensor


class Step(NamedTuple):
    """What is known in one training step.

    Attributes:
        x (tuple[Tensor]): The RPN's input, one (N, in_channels, H, W) per level. Empty in ``loss_by_feat``.
        hidden (tuple[Tensor]): What its 1x1 convolutions see, one (N, feat_channels, H, W) per level; likewise.
        cls_scores (list[Tensor]): Its objectness, one (N, num_base_priors, H, W) float32 per level.
        bbox_preds (list[Tensor]): Its box deltas, one (N, num_base_priors * 4, H, W) float32 per level.
        logits (Tensor): Its objectness of every anchor, (N, A) float32, with its gradient.
        anchors (list[Tensor]): (anchors of the level, 4) per level.
        valid (Tensor): Anchors of each image that are not in its padding, nor farther outside than ``allowed_border``
            lets them, (N, A) bool.
        gt_instances (list[InstanceData]): Objects.
        ignored (list[InstanceData | None]): Ignored objects.
        img_metas (list[dict]): MMDetection's meta information.
    """

    x: Tuple[Tensor]
    hidden: Tuple[Tensor]
    cls_scores: List[Tensor]
    bbox_preds: List[Tensor]
    logits: Tensor
    anchors: List[Tensor]
    valid: Tensor
    gt_instances: InstanceList
    ignored: OptInstanceList
    img_metas: List[dict]


class Targets(NamedTuple):
    """What the anchors of one image learn.

    Attributes:
        labels (Tensor): ``AnchorHead``'s, (A,), as are the next three: 0 for a sampled positive, 1 for the background.
        label_weights (Tensor): 0 where an anchor was not sampled, (A,).
        bbox_targets (Tensor): Of the sampled positives, (A, box_dim).
        bbox_weights (Tensor): 1 for the sampled positives, (A, box_dim).
        overlaps (Tensor): IoU of each sampled positive with its object, else 0, (A,).
        positive (Tensor): Anchors to rank above the negatives, (A,) bool.
        negative (Tensor): Negatives that may be hard, (A,) bool.
        sampled (SamplingResult): Its ``hard_anchors`` and ``random_anchors`` name the negatives out of all A anchors,
            if they were sampled by hardness.
    """

    labels: Tensor
    label_weights: Tensor
    bbox_targets: Tensor
    bbox_weights: Tensor
    overlaps: Tensor
    positive: Tensor
    negative: Tensor
    sampled: SamplingResult
