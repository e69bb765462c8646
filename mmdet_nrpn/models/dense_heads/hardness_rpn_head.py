from typing import List, Optional

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmdet.utils import InstanceList, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from ..losses import OverlapLoss, OverlapTarget
from ..task_modules import NRPNSampler
from ..utils import objectness_logits, on_ignored


class HardnessRPNHead(RPNHead):
    """An ``RPNHead`` that tells its sampler how hard each anchor is, and Overlap Loss how much each positive overlaps
    its object: what an RPN and its nRPN have in common.

    ``AnchorHead`` calls the sampler with the objects and with the anchors inside the picture alone. So hardness comes
    to the picture with its meta information, is cut to these anchors, and goes on with the objects.
    """

    # NRPNSampler looks for this to tell a head that hands it hardness from one that does not.
    hands_hardness = True
    # A negative weighs 1 + hardness_weight * sigmoid(hardness) in the classification loss.
    hardness_weight = 0.0
    # An anchor that lies on an ignored object by this share of its own area is not drawn as hard.
    ignored_iof_thr = 0.3

    def loss_by_feat(
        self,
        cls_scores: List[Tensor],
        bbox_preds: List[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: List[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
        hardness: Optional[Tensor] = None,
    ) -> dict:
        """``RPNHead``'s losses, on negatives drawn or weighed by hardness.

        Args:
            hardness (Tensor, optional): (N, num_priors), a logit, larger is harder. None draws at random. The other
                arguments are ``RPNHead``'s.

        Returns:
            dict: ``loss_rpn_cls`` and ``loss_rpn_bbox``. If negatives were drawn by hardness also this head's mean
            objectness of those drawn as hard, ``rpn_hard_neg_score``, and at random, ``rpn_random_neg_score``, 0 where
            there are none.
        """
        inputs = (cls_scores, bbox_preds, batch_gt_instances)
        draws = isinstance(self.sampler, NRPNSampler)
        if hardness is None or not (draws or self.hardness_weight):
            return super().loss_by_feat(*inputs, batch_img_metas, batch_gt_instances_ignore)
        batch_img_metas = [dict(meta, hardness=h) for meta, h in zip(batch_img_metas, hardness)]
        losses = super().loss_by_feat(*inputs, batch_img_metas, batch_gt_instances_ignore)
        if not draws:
            return losses
        logits, results = objectness_logits(cls_scores), self._raw_positive_infos['sampling_results']
        losses['rpn_hard_neg_score'] = _mean_score(logits, [result.hard_negatives for result in results])
        losses['rpn_random_neg_score'] = _mean_score(logits, [result.random_negatives for result in results])
        return losses

    def get_targets(self, *args, **kwargs) -> tuple:
        """``AnchorHead``'s targets; for Overlap Loss, the labels of a level are an ``OverlapTarget``."""
        targets = super().get_targets(*args, **kwargs)
        if not isinstance(self.loss_cls, OverlapLoss):
            return targets
        labels, *others, overlaps = targets
        return [OverlapTarget(*level) for level in zip(labels, overlaps)], *others

    def _get_targets_single(
        self,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: Optional[InstanceData] = None,
        unmap_outputs: bool = True,
    ) -> tuple:
        """``AnchorHead``'s targets of a picture; its sampling result names the negatives drawn among all anchors.

        For Overlap Loss, the IoU of each positive with its object follows, 0 elsewhere. It is not
        ``assign_result.max_overlaps``: a low-quality match may give an anchor to another object than the one it
        overlaps most.
        """
        if 'hardness' in img_meta:
            border = self.train_cfg['allowed_border']
            inside_flags = anchor_inside_flags(flat_anchors, valid_flags, img_meta['img_shape'][:2], border)
            inside_inds = inside_flags.nonzero().squeeze(1)
            all_hardness = self._hardness_of_negatives(img_meta['hardness'], flat_anchors, gt_instances_ignore)
            gt_instances = InstanceData(
                metainfo=dict(hardness=all_hardness[inside_inds]),
                bboxes=gt_instances.bboxes,
                labels=gt_instances.labels,
            )
        targets = super()._get_targets_single(
            flat_anchors, valid_flags, gt_instances, img_meta, gt_instances_ignore, unmap_outputs
        )
        result = targets[-1]
        if 'hardness' in img_meta and self.hardness_weight:
            labels, label_weights, *others = targets
            weights = 1 + self.hardness_weight * all_hardness.nan_to_num(nan=-torch.inf).sigmoid()
            targets = labels, torch.where(labels == self.num_classes, label_weights * weights, label_weights), *others
        if hasattr(result, 'hard_neg_inds'):
            result.hard_negatives = inside_inds[result.hard_neg_inds]
            result.random_negatives = inside_inds[result.random_neg_inds]
        if not isinstance(self.loss_cls, OverlapLoss):
            return targets
        return *targets, self._overlaps_of_positives(result, targets[0] != self.num_classes)

    def _hardness_of_negatives(self, hardness: Tensor, anchors: Tensor, ignored: Optional[InstanceData]) -> Tensor:
        """Hardness with -inf on ignored objects: they are real objects, and hard draws would seek them out."""
        if ignored is None:
            return hardness
        mask = on_ignored(get_box_tensor(anchors), ignored.bboxes, self.ignored_iof_thr)
        return hardness.masked_fill(mask, -torch.inf)

    @staticmethod
    def _overlaps_of_positives(result: SamplingResult, is_positive: Tensor) -> Tensor:
        priors, objects = get_box_tensor(result.pos_priors), get_box_tensor(result.pos_gt_bboxes)
        overlaps = priors.new_zeros(len(is_positive))
        # positives are sorted, so those among all anchors have the order of those inside the picture
        overlaps[is_positive] = bbox_overlaps(priors, objects, is_aligned=True)
        return overlaps


def _mean_score(logits: Tensor, inds: List[Tensor]) -> Tensor:
    scores = torch.cat([logit[i] for logit, i in zip(logits, inds)]).sigmoid()
    return scores.sum() / max(len(scores), 1)
