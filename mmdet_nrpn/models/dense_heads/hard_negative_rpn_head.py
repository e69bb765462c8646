import warnings
from typing import List, Optional, Tuple, Union

import torch
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.models.task_modules.samplers import CombinedSampler
from mmdet.models.utils import images_to_levels, multi_apply, unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_overlaps, cat_boxes, get_box_tensor
from mmdet.utils import InstanceList, OptConfigType, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor
from torch.profiler import record_function

from ..losses import HardNegativeRankLoss, OverlapLoss, OverlapTarget
from ..task_modules import NRPNSampler
from ...utils import (
    Candidates,
    clip_bboxes,
    flatten_levels,
    in_float32,
    mine_candidates,
    objectness_logits,
    on_ignored,
)
from .removed_settings import RANK
from .rpn_head_with_nrpn import RPNHeadWithNRPN

HARDNESS_SOURCES = ('nrpn', 'rpn')
# An anchor lies on an ignored object from this share of its own area on.
IGNORED_IOF_THR = 0.3
# What an anchor is to the ranking.
POSITIVE, NEITHER, NEGATIVE = 1, 0, -1


@MODELS.register_module()
class HardNegativeRPNHead(RPNHeadWithNRPN):
    """An RPN that learns from a negative RPN (nRPN, Cho et al., ICIP 2019, poster Fig. 1b).

    In each training step the nRPN learns what the RPN gets wrong, and the RPN learns from the nRPN in one or both of
    two ways. ``loss_rank`` ranks every positive above the hardest negatives, weighed by the nRPN (not in the paper). An
    :class:`~mmdet_nrpn.models.NRPNSampler` samples the negatives that the nRPN finds hard (the paper).
    ``forward`` and ``predict`` are inherited, and a head that is built for inference has no nRPN.

    Anchors in an image's padding and anchors on ignored objects are never mined, ranked as negatives or sampled as
    hard. The head also hands :class:`~mmdet_nrpn.models.OverlapLoss` the overlap of each positive anchor with its
    object.

    Args:
        in_channels (int): Channels of the features.
        nrpn_head (dict, optional): Config of the nRPN, :class:`~mmdet_nrpn.models.NRPNHead` if it has no type. None
            trains without one. Defaults to ``dict()``.
        hardness (str): 'nrpn', or 'rpn' for the RPN's own objectness in its place, which keeps no nRPN. Defaults to
            'nrpn'.
        loss_rank (dict, optional): Config of a :class:`~mmdet_nrpn.models.HardNegativeRankLoss`, which it is if it has
            no type. Defaults to None: no ranking.
        kwargs: Arguments of ``RPNHead``.

    Raises:
        ValueError: For an unknown ``hardness``, softmax objectness, an ``NRPNSampler`` without hardness to sample by,
            a ``nrpn_head`` or ``loss_rank`` that is no dict, or a setting of the first edition that is gone.

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
        hardness: str = 'nrpn',
        loss_rank: OptConfigType = None,
        **kwargs,
    ) -> None:
        if hardness not in HARDNESS_SOURCES:
            raise ValueError(
                f'HardNegativeRPNHead: hardness must be one of {HARDNESS_SOURCES}, got hardness={hardness!r}'
            )
        for name, value in dict(nrpn_head=nrpn_head, loss_rank=loss_rank).items():
            if not (value is None or isinstance(value, dict)):
                raise ValueError(
                    f'HardNegativeRPNHead: {name} must be a dict or None, got {name}={value!r}; write None for none'
                )
        super().__init__(in_channels, nrpn_head, **kwargs)
        self.hardness = hardness
        self.loss_rank = None if loss_rank is None else MODELS.build({'type': HardNegativeRankLoss, **loss_rank})
        if hardness == 'rpn':
            self.nrpn_head = None
        self.sampling_results: list = []  # of the last training step, one per image
        if self.train_cfg:
            self._check_use_of_hardness()

    def _check_use_of_hardness(self) -> None:
        samples_hard = isinstance(self.sampler, NRPNSampler)
        if isinstance(self.sampler, CombinedSampler) and isinstance(self.sampler.neg_sampler, NRPNSampler):
            raise ValueError(
                'HardNegativeRPNHead: an NRPNSampler gets no hardness as train_cfg.rpn.sampler.neg_sampler; '
                "write sampler=dict(type='NRPNSampler') in the place of the combined one"
            )
        if samples_hard and self.hardness == 'nrpn' and self.nrpn_head is None:
            raise ValueError(
                "HardNegativeRPNHead: NRPNSampler has no nRPN to ask for hardness='nrpn' with nrpn_head=None; "
                "write nrpn_head=dict(type='NRPNHead'), hardness='rpn', or a stock sampler"
            )
        if not samples_hard and self.loss_rank is None and (self.hardness == 'rpn' or self.nrpn_head is not None):
            warnings.warn(
                f'HardNegativeRPNHead: {type(self.sampler).__name__} samples no hard negatives and there is no '
                f'loss_rank, so the RPN learns nothing from hardness={self.hardness!r}; write '
                f"{RANK}, train_cfg.rpn.sampler=dict(type='NRPNSampler'), or nrpn_head=None",
                stacklevel=2,
            )

    def forward_with_hidden(self, x: Tuple[Tensor]) -> Tuple[tuple, Tuple[Tensor]]:
        """The RPN's outputs, and the hidden features that its 1x1 convolutions see.

        Args:
            x (tuple[Tensor]): Features, one (N, in_channels, H, W) per level.

        Returns:
            tuple[tuple, tuple[Tensor]]: ``self(x)``, and one (N, feat_channels, H, W) per level.
        """
        hidden = []
        with self.rpn_cls.register_forward_pre_hook(lambda module, args: hidden.append(args[0])):
            outs = self(x)
        return outs, tuple(hidden)

    def loss(self, x: Tuple[Tensor], batch_data_samples: SampleList) -> dict:
        """Losses of an RPN without a second stage.

        Args:
            x (tuple[Tensor]): Features, one (N, in_channels, H, W) per level.
            batch_data_samples (list[DetDataSample]): Objects, ignored objects and meta information.

        Returns:
            dict: Losses and what is logged beside them.
        """
        return self._loss(x, batch_data_samples)[0]

    def loss_and_predict(
        self, x: Tuple[Tensor], batch_data_samples: SampleList, proposal_cfg: OptConfigType = None
    ) -> Tuple[dict, InstanceList]:
        """Losses, and the proposals for a second stage.

        Args:
            x (tuple[Tensor]): Features, one (N, in_channels, H, W) per level.
            batch_data_samples (list[DetDataSample]): Objects, ignored objects and meta information.
            proposal_cfg (dict, optional): NMS settings of the proposals. ``test_cfg`` if None.

        Returns:
            tuple[dict, list[InstanceData]]: Losses with what is logged, and the proposals of each image.
        """
        losses, outs = self._loss(x, batch_data_samples)
        img_metas = [sample.metainfo for sample in batch_data_samples]
        return losses, self.predict_by_feat(*outs, batch_img_metas=img_metas, cfg=proposal_cfg)

    def _loss(self, x: Tuple[Tensor], batch_data_samples: SampleList) -> Tuple[dict, tuple]:
        """One training step: the nRPN learns from the RPN, then the RPN from the nRPN. Returns float32 outputs, too."""
        gt_instances, ignored, img_metas = unpack_gt_instances(batch_data_samples)
        outs, hidden = self.forward_with_hidden(x)
        cls_scores, bbox_preds = in_float32(outs)  # for NMS, and MMCV's focal loss takes no bfloat16 on a GPU
        sizes = [level.shape[-2:] for level in hidden]
        anchors = zip(*self.get_anchors(sizes, img_metas, device=hidden[0].device))
        img_metas = [dict(meta, anchors=image) for meta, image in zip(img_metas, anchors)]
        nrpn_losses, hardness = {}, None
        if self.nrpn_head is not None:
            with record_function('nRPN: mining'):
                mined = self._mine(cls_scores, bbox_preds, hidden, gt_instances, img_metas, ignored)
            with record_function('nRPN: loss'):
                nrpn_losses, hardness = self.nrpn_head.loss_and_hardness(x, hidden, mined, img_metas)
            nrpn_losses['nrpn_false_positives'] = mined.is_false.sum(1).float().mean()
        elif self.hardness == 'rpn':
            hardness = objectness_logits(cls_scores).detach()
        losses = self.loss_by_feat(cls_scores, bbox_preds, gt_instances, img_metas, ignored, hardness=hardness)
        return {**losses, **nrpn_losses}, (cls_scores, bbox_preds)

    def get_anchors(
        self, featmap_sizes: List[tuple], batch_img_metas: List[dict], device: Union[torch.device, str] = 'cuda'
    ) -> Tuple[list, list]:
        """``AnchorHead``'s, computed once in a training step: it then lies in the meta information."""
        if all('anchors' in meta for meta in batch_img_metas):
            anchor_list, valid_flag_list = zip(*(meta['anchors'] for meta in batch_img_metas))
            return list(anchor_list), list(valid_flag_list)
        return super().get_anchors(featmap_sizes, batch_img_metas, device=device)

    def _mine(
        self, cls_scores: List[Tensor], bbox_preds: List[Tensor], hidden: Tuple[Tensor],
        batch_gt_instances: InstanceList, batch_img_metas: List[dict], batch_gt_instances_ignore: OptInstanceList,
    ) -> Candidates:  # fmt: skip
        """The RPN's top anchors, compared with the objects."""
        logits = objectness_logits(cls_scores).detach()
        deltas = flatten_levels([level.detach() for level in bbox_preds], self.bbox_coder.encode_size)
        return mine_candidates(
            logits, deltas, *self._valid_anchors(cls_scores, batch_img_metas), self.bbox_coder, batch_gt_instances,
            batch_img_metas, batch_gt_instances_ignore, self.nrpn_head.max_num, self.nrpn_head.iou_thr,
        )  # fmt: skip

    def _valid_anchors(self, cls_scores: List[Tensor], batch_img_metas: List[dict]) -> Tuple[Tensor, Tensor]:
        """The anchors (A, 4), and which of them belong to each image (N, A) and not to its padding."""
        sizes = [level.shape[-2:] for level in cls_scores]
        anchor_list, valid_flag_list = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        anchors, border = get_box_tensor(cat_boxes(anchor_list[0])), self.train_cfg['allowed_border']
        valid = [
            anchor_inside_flags(anchors, torch.cat(flags), meta['img_shape'][:2], border)
            for flags, meta in zip(valid_flag_list, batch_img_metas)
        ]
        return anchors, torch.stack(valid)

    def loss_by_feat(
        self,
        cls_scores: List[Tensor],
        bbox_preds: List[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: List[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
        hardness: Optional[Tensor] = None,
    ) -> dict:
        """``RPNHead``'s losses, on negatives sampled by hardness, and the ranking loss.

        Args:
            hardness (Tensor, optional): (N, A) logits, larger is harder. None samples at random and ranks without a
                prior. The other arguments are ``RPNHead``'s.

        Returns:
            dict: ``loss_rpn_cls`` and ``loss_rpn_bbox``; with ``loss_rank`` also ``loss_rpn_rank``; and the mean
            objectness of sampled negatives, as in the class's note.

        Raises:
            ValueError: If hardness has another shape than (images, anchors).
        """
        sizes = [level.shape[-2:] for level in cls_scores]
        anchor_list, valid_flag_list = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        num_level_anchors = [len(anchors) for anchors in anchor_list[0]]
        if hardness is not None:
            expected = (len(batch_img_metas), sum(num_level_anchors))
            if tuple(hardness.shape) != expected:
                raise ValueError(
                    f'HardNegativeRPNHead: hardness must have a row per image and a column per anchor, {expected}, '
                    f'got {tuple(hardness.shape)}'
                )
            batch_img_metas = [dict(meta, hardness=row) for meta, row in zip(batch_img_metas, hardness)]
        (labels, label_weights, bbox_targets, bbox_weights, avg_factor, self.sampling_results, overlaps, roles) = (
            self.get_targets(
                anchor_list, valid_flag_list, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore,
                return_sampling_results=True,
            )
        )  # fmt: skip
        if isinstance(self.loss_cls, OverlapLoss):
            labels = [OverlapTarget(*level) for level in zip(labels, overlaps)]
        anchors = images_to_levels([cat_boxes(levels) for levels in anchor_list], num_level_anchors)
        loss_cls, loss_bbox = multi_apply(
            self.loss_by_feat_single, cls_scores, bbox_preds, anchors, labels, label_weights, bbox_targets,
            bbox_weights, avg_factor=avg_factor,
        )  # fmt: skip
        losses = dict(loss_rpn_cls=loss_cls, loss_rpn_bbox=loss_bbox)
        if self.loss_rank is not None:
            with record_function('nRPN: ranking'):
                logits, roles = objectness_logits(cls_scores), torch.cat(roles, dim=1)
                rank = self.loss_rank(logits, roles == POSITIVE, roles == NEGATIVE, prior=hardness)
                losses['loss_rpn_rank'] = [rank]
        if hardness is not None and isinstance(self.sampler, NRPNSampler):
            logits = objectness_logits(cls_scores).detach()
            for name in ('hard', 'random'):
                inds = [getattr(result, f'{name}_anchors') for result in self.sampling_results]
                losses[f'rpn_{name}_neg_score'] = _mean_score(logits, inds)
        return losses

    def _get_targets_single(
        self,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_instances_ignore: Optional[InstanceData] = None,
        unmap_outputs: bool = True,
    ) -> tuple:
        """``AnchorHead``'s targets of one image, with negatives sampled by ``img_meta['hardness']``, if it is there.

        Returns:
            tuple: ``AnchorHead``'s, and two more of shape (A,): the IoU of each sampled positive with its object, 0
            elsewhere, and the role that the assigner gives each anchor in the ranking. The sampling result names the
            anchors that were sampled as ``hard_anchors`` and ``random_anchors``, out of all A.
        """
        inside_flags = anchor_inside_flags(
            flat_anchors, valid_flags, img_meta['img_shape'][:2], self.train_cfg['allowed_border']
        )
        inside_inds = inside_flags.nonzero().squeeze(1)  # waits for a GPU, where a mask as an index would each time
        if len(inside_inds) == 0:
            raise ValueError(
                'There is no valid anchor inside the image boundary. Please check the image size and anchor sizes, or '
                'set ``allowed_border`` to -1 to skip the condition.'
            )
        anchors = flat_anchors[inside_inds]
        pred_instances = InstanceData(priors=anchors)
        assign_result = self.assigner.assign(pred_instances, gt_instances, gt_instances_ignore)

        # which negatives may be hard: sampled as such, or ranked below the positives
        may_be_hard = assign_result.gt_inds == 0
        if gt_instances_ignore is not None and len(gt_instances_ignore) > 0:
            in_image = clip_bboxes(get_box_tensor(anchors), img_meta['img_shape'])
            may_be_hard &= ~on_ignored(in_image, gt_instances_ignore.bboxes, IGNORED_IOF_THR)
        # before the sampler, which may add the objects to the anchors
        roles = torch.where(may_be_hard, NEGATIVE, torch.where(assign_result.gt_inds > 0, POSITIVE, NEITHER))
        hardness = img_meta.get('hardness')
        if hardness is not None and isinstance(self.sampler, NRPNSampler):
            hardness = hardness[inside_inds].masked_fill(~may_be_hard, -torch.inf)
            result = self.sampler.sample(assign_result, pred_instances, gt_instances, hardness=hardness)
            result.hard_anchors = inside_inds[result.hard_neg_inds]
            result.random_anchors = inside_inds[result.random_neg_inds]
        else:
            result = self.sampler.sample(assign_result, pred_instances, gt_instances)

        num_anchors, pos_inds, neg_inds = len(anchors), result.pos_inds, result.neg_inds
        target_dim = gt_instances.bboxes.size(-1) if self.reg_decoded_bbox else self.bbox_coder.encode_size
        bbox_targets = anchors.new_zeros(num_anchors, target_dim)
        bbox_weights = anchors.new_zeros(num_anchors, target_dim)
        labels = anchors.new_full((num_anchors,), self.num_classes, dtype=torch.long)
        label_weights = anchors.new_zeros(num_anchors, dtype=torch.float)
        overlaps = anchors.new_zeros(num_anchors, dtype=torch.float)
        if len(pos_inds) > 0:
            if self.reg_decoded_bbox:
                bbox_targets[pos_inds] = get_box_tensor(result.pos_gt_bboxes)
            else:
                bbox_targets[pos_inds] = self.bbox_coder.encode(result.pos_priors, result.pos_gt_bboxes)
            bbox_weights[pos_inds] = 1.0
            labels[pos_inds] = result.pos_gt_labels
            pos_weight = self.train_cfg['pos_weight']
            label_weights[pos_inds] = 1.0 if pos_weight <= 0 else pos_weight
            # not assign_result.max_overlaps: a low-quality match may give an anchor to another object
            overlaps[pos_inds] = bbox_overlaps(
                get_box_tensor(result.pos_priors), get_box_tensor(result.pos_gt_bboxes), is_aligned=True
            )
        label_weights[neg_inds] = 1.0
        if unmap_outputs:
            labels = _of_all_anchors(labels, flat_anchors, inside_inds, fill=self.num_classes)
            roles = _of_all_anchors(roles, flat_anchors, inside_inds, fill=NEITHER)
            label_weights, bbox_targets, bbox_weights, overlaps = (
                _of_all_anchors(values, flat_anchors, inside_inds)
                for values in (label_weights, bbox_targets, bbox_weights, overlaps)
            )
        return labels, label_weights, bbox_targets, bbox_weights, pos_inds, neg_inds, result, overlaps, roles


def _of_all_anchors(values: Tensor, flat_anchors: Tensor, inds: Tensor, fill: int = 0) -> Tensor:
    """MMDetection's ``unmap`` by indices."""
    return values.new_full((len(flat_anchors), *values.shape[1:]), fill).index_copy_(0, inds, values)


def _mean_score(logits: Tensor, inds: List[Tensor]) -> Tensor:
    scores = torch.cat([logit[i] for logit, i in zip(logits, inds)]).sigmoid()
    return scores.sum() / max(len(scores), 1)
