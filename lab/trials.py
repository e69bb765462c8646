"""What rows of a table need and the package does not have: other methods' parts, and ideas that were only tried."""

from typing import Optional

import torch
import torch.nn.functional as F
from mmdet.registry import HOOKS, MODELS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.hooks import Hook
from torch import Tensor

from mmdet_nrpn.models import HardNegativeRPNHead, NRPNHead
from mmdet_nrpn.models.losses import HardNegativeRankLoss, OverlapTarget
from mmdet_nrpn.utils import Candidates, bboxes_of, clip_bboxes, flatten_levels, max_ious, objectness_logits, rpn_of


@MODELS.register_module()
class QualityFocalRPNHead(HardNegativeRPNHead):
    """An RPN for ``QualityFocalLoss``: the target of a positive anchor is the IoU of its decoded box with its object.

    Li et al., Generalized Focal Loss (NeurIPS 2020), section 3.
    """

    def loss_by_feat_single(
        self, cls_score: Tensor, bbox_pred: Tensor, anchors: Tensor, labels: Tensor, label_weights: Tensor,
        bbox_targets: Tensor, *args, **kwargs,
    ) -> tuple:  # fmt: skip
        deltas = flatten_levels([bbox_pred.detach()], self.bbox_coder.encode_size)
        boxes, gt_boxes = (
            get_box_tensor(self.bbox_coder.decode(anchors.flatten(0, 1), given.flatten(0, 1)))
            for given in (deltas, bbox_targets)
        )
        quality = bbox_overlaps(boxes, gt_boxes, is_aligned=True).clamp(0, 1).view_as(label_weights)
        target = OverlapTarget(labels, quality)
        return super().loss_by_feat_single(
            cls_score, bbox_pred, anchors, target, label_weights, bbox_targets, *args, **kwargs
        )


@MODELS.register_module()
class GradedNRPNHead(NRPNHead):
    """An nRPN whose target is graded, (IoU - 0.5) / 0.45 within [0, 1], in the place of 0 or 1. In a GradedRPNHead."""

    def loss_and_hardness(self, x: tuple, hidden: tuple, mined: Candidates, batch_img_metas: list) -> tuple:
        logits = objectness_logits(self(hidden))
        learns = mined.is_true | mined.is_false
        corrected = (mined.logits - logits.gather(1, mined.inds)).masked_fill(~learns, 0)
        target = ((self.ious - 0.5) / 0.45).clamp(0, 1)
        loss = F.binary_cross_entropy_with_logits(corrected, target, learns.float(), reduction='sum')
        return dict(loss_nrpn_cls=[loss / learns.sum().clamp(min=1)]), logits.detach()


@MODELS.register_module()
class GradedRPNHead(HardNegativeRPNHead):
    """Tells its GradedNRPNHead the largest IoU of each candidate with an object."""

    def mine(self, step: tuple) -> Candidates:
        mined = super().mine(step)
        images = zip(mined.bboxes, step.gt_instances, step.img_metas)
        self.nrpn_head.ious = torch.stack(
            [max_ious(boxes, clip_bboxes(bboxes_of(gt, boxes), meta['img_shape'])) for boxes, gt, meta in images]
        )
        return mined


@MODELS.register_module()
class FoldedMiningRPNHead(HardNegativeRPNHead):
    """Mines the top anchors of the score with the nRPN folded in, s - n, in the place of s."""

    def mine(self, step: tuple) -> Candidates:
        n = objectness_logits(self.nrpn_head(step.hidden)).detach()
        mined = super().mine(step._replace(logits=step.logits - n))
        own = step.logits.detach().gather(1, mined.inds)
        return mined._replace(logits=own.masked_fill(~mined.logits.isfinite(), -torch.inf))


@MODELS.register_module()
class BatchRankLoss(HardNegativeRankLoss):
    """Ranks the batch's positives above the hardest negatives of images without positives, too.

    Each such image counts as much as one with positives does on average.
    """

    def forward(
        self, logits: Tensor, positive: Tensor, negative: Tensor, prior: Optional[Tensor] = None, **kwargs
    ) -> Tensor:
        loss = super().forward(logits, positive, negative, prior, **kwargs)
        without = ~positive.any(1)
        if without.all() or not without.any():
            return loss
        of_batch = logits[positive]  # stand beside the anchors of each image that has none

        def beside(of_images: Tensor, values: Tensor) -> Tensor:
            return torch.cat([of_images[without], values.to(of_images).expand(int(without.sum()), -1)], dim=1)

        is_positive = beside(positive, torch.ones_like(of_batch))
        is_negative = beside(negative, torch.zeros_like(of_batch))
        prior = None if prior is None else beside(prior, torch.zeros_like(of_batch))
        images_with = int((~without).sum())
        return loss + super().forward(
            beside(logits, of_batch), is_positive, is_negative, prior, avg_factor=len(of_batch) * images_with
        )


@HOOKS.register_module()
class RankWeightSchedule(Hook):
    """Lets the weight of the ranking loss fall linearly to 0, from what the config says."""

    def before_train(self, runner: object) -> None:
        self.loss = rpn_of(runner.model).loss_rank
        self.start = self.loss.loss_weight

    def before_train_iter(self, runner: object, batch_idx: int, data_batch: object = None) -> None:
        self.loss.loss_weight = self.start * (1 - runner.iter / runner.max_iters)
