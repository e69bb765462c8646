from typing import Any, List, Optional, Tuple

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.models.utils import images_to_levels, multi_apply, unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_overlaps, cat_boxes, get_box_tensor
from mmdet.utils import InstanceList, OptConfigType, OptInstanceList
from mmengine.model import PretrainedInit, initialize
from mmengine.structures import InstanceData
from torch import Tensor
from torch.profiler import record_function

from ...utils import (
    Candidates,
    bboxes_of,
    clip_bboxes,
    flatten_levels,
    fresh_nrpn_if_other,
    in_float32,
    mine_candidates,
    objectness_logits,
    on_ignored,
)
from ..losses import HardNegativeRankLoss, OverlapLoss, OverlapTarget
from ..task_modules import NRPNSampler
from .settings import build_nrpn, check_settings, check_use_of_hardness, require_one_logit
from .training_step import Step, Targets

# An anchor lies on an ignored object from this share of its own area on.
IGNORED_IOF_THR = 0.3


@MODELS.register_module()
class HardNegativeRPNHead(RPNHead):
    """An RPN that learns from a negative RPN (nRPN, Cho et al., ICIP 2019, poster Fig. 1b).

    In each training step the nRPN learns what the RPN gets wrong, and the RPN learns from the nRPN in one or both of
    two ways. ``loss_rank`` ranks every positive above the hardest negatives, weighed by the nRPN (not in the paper). An
    :class:`~mmdet_nrpn.models.NRPNSampler` samples the negatives that the nRPN finds hard (the paper). ``forward`` and
    ``predict`` are ``RPNHead``'s, and a head that is built for inference has no nRPN.

    Args:
        in_channels (int): Channels of the features.
        nrpn_head (dict, optional): Config of the nRPN, :class:`~mmdet_nrpn.models.NRPNHead` if it has no type. None
            trains without one. Defaults to ``dict()``.
        loss_rank (dict, optional): Config of the ranking loss, :class:`~mmdet_nrpn.models.HardNegativeRankLoss` if it
            has no type. None does not rank. Defaults to ``dict()``.
        hardness (str): What says how hard a negative is: 'nrpn', or 'rpn' for the RPN's own objectness, which keeps no
            nRPN. Defaults to 'nrpn'.
        hard_iou_thr (float, optional): An anchor that overlaps an object by this IoU, in (0, 1], is neither ranked as a
            negative nor sampled as hard. Defaults to None: every negative may be.
        kwargs: Arguments of ``RPNHead``.

    Raises:
        ValueError: For a setting out of its range, softmax objectness, or an ``NRPNSampler`` without hardness.

    Note:
        Logged beside the losses: ``nrpn_false_positives``, the RPN's false positives per image among the anchors that
        the nRPN learns from; and, with an ``NRPNSampler``, the RPN's mean objectness of the negatives sampled as hard
        (``rpn_hard_neg_score``) and at random (``rpn_random_neg_score``), 0 where there are none.
    """

    may_have_nrpn_sampler = True

    def __init__(
        self,
        in_channels: int,
        nrpn_head: OptConfigType = dict(),  # noqa: B006 (read only)
        loss_rank: OptConfigType = dict(),  # noqa: B006
        hardness: str = 'nrpn',
        hard_iou_thr: Optional[float] = None,
        **kwargs,
    ) -> None:
        check_settings(nrpn_head, loss_rank, hardness, hard_iou_thr)
        super().__init__(in_channels, **kwargs)
        require_one_logit(self, 'rpn_head.loss_cls')
        self.hardness, self.hard_iou_thr = hardness, hard_iou_thr
        self.loss_rank = None if loss_rank is None else MODELS.build({'type': HardNegativeRankLoss, **loss_rank})
        # also built where it is not used, so that a misspelt setting does not pass in silence
        nrpn = None if nrpn_head is None else build_nrpn(self, nrpn_head, dict(in_channels=in_channels, **kwargs))
        self.nrpn_head: Any = nrpn if self.train_cfg and hardness == 'nrpn' else None
        self.sampling_results: list = []  # of the last training step, one per image
        check_use_of_hardness(self)

    def loss(self, x: Tuple[Tensor], batch_data_samples: SampleList) -> dict:
        """``RPNHead``'s: the losses of an RPN without a second stage, and what is logged beside them."""
        return self._train(x, batch_data_samples)[0]

    def loss_and_predict(
        self, x: Tuple[Tensor], batch_data_samples: SampleList, proposal_cfg: OptConfigType = None
    ) -> Tuple[dict, InstanceList]:
        """``RPNHead``'s: :meth:`loss`, and the proposals of each image for a second stage."""
        losses, step = self._train(x, batch_data_samples)
        outs = step.cls_scores, step.bbox_preds
        return losses, self.predict_by_feat(*outs, batch_img_metas=step.img_metas, cfg=proposal_cfg)

    def _train(self, x: Tuple[Tensor], batch_data_samples: SampleList) -> Tuple[dict, Step]:
        """One training step: the nRPN learns from the RPN, then the RPN from the nRPN."""
        objects, ignored, metas = unpack_gt_instances(batch_data_samples)
        outs, hidden = self.forward_with_hidden(x)
        step = self._step(outs, objects, metas, ignored, x, hidden)
        nrpn_losses, hardness = self.find_hardness(step)
        return {**self._losses(step, hardness), **nrpn_losses}, step

    def forward_with_hidden(self, x: Tuple[Tensor]) -> Tuple[tuple, Tuple[Tensor]]:
        """``self(x)``, and what its 1x1 convolutions see, one (N, feat_channels, H, W) per level."""
        hidden = []
        with self.rpn_cls.register_forward_pre_hook(lambda module, args: hidden.append(args[0])):
            outs = self(x)
        return outs, tuple(hidden)

    def _step(self, outs, objects, metas, ignored=None, x=(), hidden=()) -> Step:
        cls_scores, bbox_preds = in_float32(outs)  # for NMS, and MMCV's focal loss takes no bfloat16 on a GPU
        logits, sizes = objectness_logits(cls_scores), [level.shape[-2:] for level in cls_scores]
        anchors, flags = self.get_anchors(sizes, metas, device=logits.device)
        flat, border = cat_boxes(anchors[0]), self.train_cfg['allowed_border']
        valid = [
            anchor_inside_flags(flat, torch.cat(of_image), meta['img_shape'][:2], border)
            for of_image, meta in zip(flags, metas)
        ]
        ignored = ignored or [None] * len(metas)
        return Step(x, hidden, cls_scores, bbox_preds, logits, anchors[0], torch.stack(valid), objects, ignored, metas)

    def find_hardness(self, step: Step) -> Tuple[dict, Optional[Tensor]]:
        """Say how hard each anchor is, and train what says it. Override it to take hardness from elsewhere.

        Args:
            step (Step): What is known in this training step.

        Returns:
            tuple[dict, Tensor | None]: Losses with what is logged beside them; and hardness, (N, A) logits, detached,
            larger is harder. -inf and NaN: no hard negative. None ranks without a prior and samples at random.
        """
        if self.nrpn_head is None:
            return {}, step.logits.detach() if self.hardness == 'rpn' else None
        with record_function('nRPN: mining'):
            mined = self.mine(step)
        with record_function('nRPN: loss'):
            losses, hardness = self.nrpn_head.loss_and_hardness(step.x, step.hidden, mined, step.img_metas)
        return {**losses, 'nrpn_false_positives': mined.is_false.sum(1).float().mean()}, hardness

    def mine(self, step: Step) -> Candidates:
        """The RPN's top anchors of each image, as many as the nRPN learns from, compared with the objects."""
        deltas = flatten_levels([level.detach() for level in step.bbox_preds], self.bbox_coder.encode_size)
        return mine_candidates(
            step.logits.detach(), deltas, get_box_tensor(cat_boxes(step.anchors)), step.valid, self.bbox_coder,
            step.gt_instances, step.img_metas, step.ignored, self.nrpn_head.max_num, self.nrpn_head.iou_thr,
        )  # fmt: skip

    def loss_by_feat(
        self,
        cls_scores: List[Tensor],
        bbox_preds: List[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: List[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
        hardness: Optional[Tensor] = None,
    ) -> dict:
        """``RPNHead``'s, for those without features: no nRPN learns. ``hardness`` is as of :meth:`find_hardness`."""
        outs = cls_scores, bbox_preds
        return self._losses(self._step(outs, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore), hardness)

    def _losses(self, step: Step, hardness: Optional[Tensor]) -> dict:
        """``RPNHead``'s losses on the sampled anchors, the ranking of all, and what is logged beside them."""
        if hardness is not None and hardness.shape != step.logits.shape:
            expected, given = tuple(step.logits.shape), tuple(hardness.shape)
            raise ValueError(f'hardness must have a row per image and a column per anchor, {expected}, got {given}')
        anchors, num = cat_boxes(step.anchors), len(step.img_metas)
        rows = [None] * num if hardness is None else hardness
        images = zip(step.valid, step.gt_instances, step.ignored, step.img_metas, rows)
        # in each field, a list of the images' values
        targets = Targets(*map(list, zip(*(self._targets(anchors, *image) for image in images))))
        self.sampling_results = targets.sampled
        self._raw_positive_infos.update(sampling_results=targets.sampled)  # for get_positive_infos

        sizes = [len(level) for level in step.anchors]
        level_anchors, labels, label_weights, bbox_targets, bbox_weights, overlaps = (
            images_to_levels(of_images, sizes) for of_images in ([anchors] * num, *targets[:5])
        )
        if isinstance(self.loss_cls, OverlapLoss):  # AnchorHead hands them on as if they were labels alone
            labels = [OverlapTarget(*level) for level in zip(labels, overlaps)]
        loss_cls, loss_bbox = multi_apply(
            self.loss_by_feat_single, step.cls_scores, step.bbox_preds, level_anchors, labels, label_weights,
            bbox_targets, bbox_weights, avg_factor=sum(result.avg_factor for result in targets.sampled),
        )  # fmt: skip
        losses = dict(loss_rpn_cls=loss_cls, loss_rpn_bbox=loss_bbox)
        if self.loss_rank is not None:
            with record_function('nRPN: ranking'):
                masks = torch.stack(targets.positive), torch.stack(targets.negative)
                losses['loss_rpn_rank'] = [self.loss_rank(step.logits, *masks, prior=hardness)]
        if hardness is not None and isinstance(self.sampler, NRPNSampler):
            for kind in ('hard', 'random'):
                inds = (getattr(result, f'{kind}_anchors') for result in targets.sampled)
                scores = torch.cat([row[i] for row, i in zip(step.logits.detach(), inds)]).sigmoid()
                losses[f'rpn_{kind}_neg_score'] = scores.sum() / max(len(scores), 1)
        return losses

    def _targets(self, all_anchors, valid, objects, ignored, meta, hardness) -> Targets:
        """What the A anchors of one image learn: ``AnchorHead``'s targets, its negatives sampled by hardness (A,)."""
        inds = valid.nonzero().squeeze(1)  # the M valid ones; as a mask, each use of it would wait for a GPU
        if len(inds) == 0:
            raise ValueError(
                'There is no valid anchor inside the image boundary; write train_cfg.rpn.allowed_border=-1, or check '
                'the sizes of image and anchors'
            )
        priors = InstanceData(priors=all_anchors[inds])
        assigned = self.assigner.assign(priors, objects, ignored)
        positive, negative = torch.zeros_like(valid), torch.zeros_like(valid)
        positive[inds] = assigned.gt_inds > 0
        may_be_hard = self.may_be_hard(assigned, get_box_tensor(priors.priors), ignored, meta)
        negative[inds] = (assigned.gt_inds == 0) & may_be_hard
        given = {}
        if hardness is not None:
            negative &= hardness > -torch.inf
            if isinstance(self.sampler, NRPNSampler):
                given['hardness'] = hardness.masked_fill(~negative, -torch.inf)[inds]
        sampled = self.sampler.sample(assigned, priors, objects, **given)
        if given:
            sampled.hard_anchors, sampled.random_anchors = inds[sampled.hard_neg_inds], inds[sampled.random_neg_inds]

        # out of all A, as everything below
        pos, neg, zeros = inds[sampled.pos_inds], inds[sampled.neg_inds], get_box_tensor(all_anchors).new_zeros
        labels = torch.full_like(valid, self.num_classes, dtype=torch.long)
        label_weights, overlaps = zeros(len(valid)), zeros(len(valid))
        target_dim = objects.bboxes.size(-1) if self.reg_decoded_bbox else self.bbox_coder.encode_size
        bbox_targets, bbox_weights = zeros(len(valid), target_dim), zeros(len(valid), target_dim)
        if len(pos) > 0:
            pos_priors, pos_bboxes = sampled.pos_priors, sampled.pos_gt_bboxes
            encoded = pos_bboxes if self.reg_decoded_bbox else self.bbox_coder.encode(pos_priors, pos_bboxes)
            bbox_targets[pos] = get_box_tensor(encoded)
            bbox_weights[pos] = 1.0
            labels[pos] = sampled.pos_gt_labels
            label_weights[pos] = self.train_cfg['pos_weight'] if self.train_cfg['pos_weight'] > 0 else 1.0
            # not assigned.max_overlaps: a low-quality match may give an anchor to another object
            overlaps[pos] = bbox_overlaps(*map(get_box_tensor, (pos_priors, pos_bboxes)), is_aligned=True).to(overlaps)
        label_weights[neg] = 1.0
        return Targets(labels, label_weights, bbox_targets, bbox_weights, overlaps, positive, negative, sampled)

    def may_be_hard(
        self, assigned: AssignResult, anchors: Tensor, ignored: Optional[InstanceData], img_meta: dict
    ) -> Tensor:
        """Which anchors may be hard negatives, ranked and sampled as such. Override it to decide otherwise.

        Args:
            assigned (AssignResult): What the assigner made of the anchors.
            anchors (Tensor): The image's valid anchors, (M, 4) in pixels of the input.
            ignored (InstanceData, optional): Ignored objects.
            img_meta (dict): MMDetection's meta information.

        Returns:
            Tensor: Those on no ignored object that overlap no object by ``hard_iou_thr``, (M,) bool. Of them, the
            assigner's negatives are.
        """
        allowed, ignored_bboxes = torch.ones_like(assigned.gt_inds, dtype=torch.bool), bboxes_of(ignored, anchors)
        if len(ignored_bboxes) > 0:
            allowed = ~on_ignored(clip_bboxes(anchors, img_meta['img_shape']), ignored_bboxes, IGNORED_IOF_THR)
        if self.hard_iou_thr is not None:
            if assigned.max_overlaps is None:
                name = type(self.assigner).__name__
                raise ValueError(f'rpn_head.hard_iou_thr={self.hard_iou_thr}: {name} compares no overlaps; write None')
            allowed &= assigned.max_overlaps < self.hard_iou_thr
        return allowed

    def init_weights(self) -> None:
        """The RPN's are the stock head's, and the nRPN's take none of the seed's random numbers.

        A ``Pretrained`` checkpoint that holds an nRPN initialises it, too.
        """
        nrpn_head, self.nrpn_head = self.nrpn_head, None
        super().init_weights()
        if nrpn_head is None:
            return
        self.nrpn_head = nrpn_head
        # on a GPU, too, where MMEngine initialises a model that lies there
        devices = {parameter.device.index for parameter in nrpn_head.parameters() if parameter.is_cuda}
        with torch.random.fork_rng(devices=sorted(devices)):
            nrpn_head.init_weights()
        init_cfgs = self.init_cfg if isinstance(self.init_cfg, (list, tuple)) else [self.init_cfg or {}]
        initialize(self, [cfg for cfg in init_cfgs if cfg.get('type') in ('Pretrained', PretrainedInit)])

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        fresh_nrpn_if_other(state_dict, prefix, self.nrpn_head)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward_nrpn(self, x: Tuple[Tensor], hidden: Tuple[Tensor]) -> Any:
        """The nRPN's outputs, from features and hidden ones (:meth:`forward_with_hidden`). For looking at."""
        if self.nrpn_head is None:
            raise ValueError('HardNegativeRPNHead: forward_nrpn needs an nRPN, and this head has none')
        return self.nrpn_head.forward_beside(x, hidden)

    def predict_nrpn_by_feat(
        self, nrpn_outs: Any, outs: tuple, batch_img_metas: List[dict], rescale: bool = False
    ) -> InstanceList:
        """What the nRPN takes for hard negatives, as ``predict_by_feat`` gives proposals. ``outs`` are this head's."""
        maps = in_float32(self.nrpn_head.as_rpn_outs(nrpn_outs, outs))
        return self.predict_by_feat(*maps, batch_img_metas=batch_img_metas, rescale=rescale)
