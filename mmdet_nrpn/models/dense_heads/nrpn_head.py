from typing import List, Optional, Tuple

import torch
from mmdet.registry import MODELS
from mmdet.utils import ConfigType, InstanceList, OptInstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ..utils import false_positives, objectness_logits
from .hardness_rpn_head import HardnessRPNHead

FALSE_POSITIVES = dict(score_thr=0.3, iou_thr=0.3, max_num=64)
# Alone, an RPN needs its proposals for the mining only: a hundred a level hold its worst mistakes.
PROPOSAL = dict(nms_pre=100, max_per_img=300, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
STOCK_KEYS = ('assigner', 'sampler', 'allowed_border', 'pos_weight', 'debug')
KEYS = (*STOCK_KEYS, 'false_positives', 'proposal_cfg')


@MODELS.register_module()
class NRPNHead(HardnessRPNHead):
    """The negative RPN: an RPN whose objects are another RPN's false positives (nRPN, ICIP 2019, poster Fig. 1b).

    Its objectness of an anchor is that anchor's hardness. It is built by
    :class:`~mmdet_nrpn.models.HardNegativeRPNHead`, which hands down every argument that is missing here.

    Args:
        in_channels (int): Channels of the features.
        loss_weight (float): Factor of both of its losses. Defaults to 1.0.
        detach_features (bool): Keep its gradient out of the neck and the backbone. Unweighted and attached, its
            losses are much larger than the RPN's and take over. Defaults to True.
        train_cfg (dict, optional): The RPN's ``train_cfg`` with ``train_cfg['nrpn']``, where each key is optional:
            ``assigner``, ``allowed_border`` and ``pos_weight`` (default: the RPN's own), ``sampler`` (default: the
            RPN's own, drawing at random; ``NRPNSampler`` draws nRPN's negatives by the RPN's objectness),
            ``false_positives=dict(score_thr=0.3, iou_thr=0.3, max_num=64)`` (see
            :func:`~mmdet_nrpn.models.utils.false_positives`), and ``proposal_cfg``, the proposals to mine where no
            second stage takes any.
        kwargs: Arguments of ``RPNHead``.

    Raises:
        ValueError: For an unknown key in ``train_cfg['nrpn']``, a value out of its range, or softmax objectness.
    """

    def __init__(
        self,
        in_channels: int,
        loss_weight: float = 1.0,
        detach_features: bool = True,
        train_cfg: Optional[ConfigType] = None,
        **kwargs,
    ) -> None:
        settings = self._settings(train_cfg)
        super().__init__(in_channels, train_cfg=settings, **kwargs)
        if not self.use_sigmoid_cls:
            raise ValueError('NRPNHead: loss_cls needs one logit an anchor; write use_sigmoid=True in loss_cls')
        self.loss_weight = loss_weight
        self.detach_features = detach_features
        if settings is not None:
            self.fp_cfg = settings['false_positives']
            self.proposal_cfg = settings['proposal_cfg']

    @staticmethod
    def _settings(train_cfg: Optional[ConfigType]) -> Optional[ConfigDict]:
        """The RPN's train_cfg with what ``train_cfg['nrpn']`` says laid over it."""
        if train_cfg is None:
            return None
        own = train_cfg.get('nrpn', {})
        unknown = sorted(set(own) - set(KEYS))
        if unknown:
            raise ValueError(f'train_cfg.rpn.nrpn has unknown keys {unknown}; known are {KEYS}')
        settings = ConfigDict({key: train_cfg[key] for key in STOCK_KEYS if key in train_cfg})
        if 'sampler' in settings and 'sampler' not in own:
            settings['sampler'] = _drawing_at_random(settings['sampler'])
        settings.update(own)
        settings['false_positives'] = _checked_false_positives(own.get('false_positives', {}))
        settings['proposal_cfg'] = {**PROPOSAL, **own.get('proposal_cfg', {})}
        return settings

    def loss_and_hardness(
        self,
        x: Tuple[Tensor],
        batch_proposals: InstanceList,
        objectness: Tensor,
        batch_gt_instances: InstanceList,
        batch_img_metas: List[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> Tuple[dict, Tensor]:
        """Learn the false positives among an RPN's proposals, and tell how hard each anchor is.

        Args:
            x (tuple[Tensor]): Features, one (N, C, H, W) a level.
            batch_proposals (list[InstanceData]): The RPN's ``bboxes`` and ``scores`` after NMS, in pixels of the
                input, a picture each. No gradient goes through them.
            objectness (Tensor): The RPN's objectness of the anchors as a logit, (N, num_priors), detached: the
                hardness by which nRPN's negatives are drawn.
            batch_gt_instances (list[InstanceData]): Objects.
            batch_img_metas (list[dict]): MMDetection's meta information.
            batch_gt_instances_ignore (list[InstanceData | None], optional): Ignored objects.

        Returns:
            tuple[dict, Tensor]: Its losses and the number of false positives a picture, for the log; and the
            hardness of the anchors as a logit, (N, num_priors), detached.
        """
        ignored = batch_gt_instances_ignore or [None] * len(batch_gt_instances)
        targets = [self._targets(*instances) for instances in zip(batch_proposals, batch_gt_instances, ignored)]
        if self.detach_features:
            x = tuple(level.detach() for level in x)
        cls_scores, bbox_preds = self(x)
        losses = self.loss_by_feat(cls_scores, bbox_preds, targets, batch_img_metas, hardness=objectness)
        losses['nrpn_false_positives'] = cls_scores[0].new_tensor([len(t) for t in targets]).mean()
        return losses, objectness_logits(cls_scores)

    def _targets(
        self, proposals: InstanceData, gt_instances: InstanceData, ignored: Optional[InstanceData]
    ) -> InstanceData:
        mask = false_positives(
            proposals.bboxes,
            proposals.scores,
            gt_instances.bboxes,
            None if ignored is None else ignored.bboxes,
            **self.fp_cfg,
        )
        bboxes = proposals.bboxes[mask].detach().float()
        return InstanceData(bboxes=bboxes, labels=bboxes.new_zeros(len(bboxes), dtype=torch.long))

    def loss_by_feat(self, *args, **kwargs) -> dict:
        """The losses of an RPN, weighted, and what stands beside them, named after nRPN."""
        losses = super().loss_by_feat(*args, **kwargs)
        for name in ('loss_rpn_cls', 'loss_rpn_bbox'):
            losses[name] = [self.loss_weight * level for level in losses[name]]
        return {name.replace('rpn', 'nrpn'): value for name, value in losses.items()}


def _drawing_at_random(sampler: ConfigType) -> dict:
    """The stock sampler of the same numbers."""
    shared = ('num', 'pos_fraction', 'neg_pos_ub', 'add_gt_as_proposals')
    given = {key: sampler[key] for key in shared if key in sampler}
    # RandomSampler's own default puts objects before the anchors
    return {'type': 'RandomSampler', 'add_gt_as_proposals': False, **given}


def _checked_false_positives(given: dict) -> dict:
    unknown = sorted(set(given) - set(FALSE_POSITIVES))
    if unknown:
        raise ValueError(
            f'train_cfg.rpn.nrpn.false_positives has unknown keys {unknown}; known are {tuple(FALSE_POSITIVES)}'
        )
    cfg = dict(FALSE_POSITIVES, **given)
    for key in ('score_thr', 'iou_thr'):
        if not 0 <= cfg[key] <= 1:
            raise ValueError(f'train_cfg.rpn.nrpn.false_positives.{key} must be in [0, 1], got {cfg[key]}')
    if cfg['max_num'] is not None and cfg['max_num'] < 1:
        raise ValueError(f'train_cfg.rpn.nrpn.false_positives.max_num must be >= 1 or None, got {cfg["max_num"]}')
    return cfg
