from typing import List, Optional, Tuple

import torch
from mmcv.ops import nms
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmdet.utils import ConfigType, InstanceList, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor
from torch.profiler import record_function

from ..losses import OverlapLoss, OverlapTarget
from ..utils import Candidates, draw, flatten_levels, mine_candidates, objectness_logits
from .hardness_rpn_head import HardnessRPNHead
from .nrpn_settings import nrpn_settings

# Every one costs the overlap with all anchors.
MAX_OBJECTS = 64


@MODELS.register_module()
class NRPNHead(HardnessRPNHead):
    """The negative RPN: an RPN whose objects are another RPN's false positives (nRPN, ICIP 2019, poster Fig. 1b).

    Its objectness of an anchor is that anchor's hardness. It is built by
    :class:`~mmdet_nrpn.models.HardNegativeRPNHead`, which hands down every argument that is missing here.

    An anchor that the RPN takes for an object is positive if its decoded box is a false positive, and is regressed to
    that box; negative are anchors of the RPN's true positives, and random ones that score too low to be false positives
    (ours). Given an ``assigner``, the
    false positives after NMS are instead objects that anchors are assigned to, as to any other, which is nearer to
    the paper and slower.

    Args:
        in_channels (int): Channels of the features.
        shared_conv (bool): See with the RPN's own 3x3 convolution: nRPN then has two 1x1 convolutions alone.
            Defaults to True.
        regress (bool): Also regress the false positives' boxes. Defaults to True.
        loss_weight (float): Factor of both of its losses. Defaults to 1.0.
        detach_features (bool): Keep its gradient out of the convolution that it shares, the neck and the backbone.
            Unweighted and attached, its losses are much larger than the RPN's and take over. Defaults to True.
        train_cfg (dict, optional): The RPN's ``train_cfg`` with ``train_cfg['nrpn']``, where each key is optional:
            ``false_positives=dict(score_thr=0.3, iou_thr=0.3, max_num=1000)`` (see
            :func:`~mmdet_nrpn.models.utils.mine_candidates`), ``true_fraction=0.5``, the share of negatives that are
            true positives of the RPN, and ``sampler=dict(num, pos_fraction)``, the RPN's own if missing. Only with an
            ``assigner`` also ``allowed_border``, ``pos_weight`` (the RPN's own if missing) and other samplers.
        kwargs: Arguments of ``RPNHead``.

    Raises:
        ValueError: For an unknown key in ``train_cfg['nrpn']``, a value out of its range, or softmax objectness.
    """

    def __init__(
        self,
        in_channels: int,
        shared_conv: bool = True,
        regress: bool = True,
        loss_weight: float = 1.0,
        detach_features: bool = True,
        train_cfg: Optional[ConfigType] = None,
        **kwargs,
    ) -> None:
        settings = nrpn_settings(train_cfg)
        self.shared_conv, self.regress = shared_conv, regress  # before the layers are made
        super().__init__(in_channels, train_cfg=settings, **kwargs)
        if not self.use_sigmoid_cls:
            raise ValueError('NRPNHead: loss_cls needs one logit an anchor; write use_sigmoid=True in loss_cls')
        if settings is not None and settings.assigns and not regress:
            raise ValueError('NRPNHead: with train_cfg.rpn.nrpn.assigner it also regresses; write regress=True')
        self.loss_weight = loss_weight
        self.detach_features = detach_features

    def _init_layers(self) -> None:
        super()._init_layers()
        if self.shared_conv:
            self.rpn_conv = None
        if not self.regress:
            self.rpn_reg = None

    def forward_single(self, x: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        """Outputs of a level.

        Args:
            x (Tensor): (N, C, H, W), with ``shared_conv`` what the RPN's convolution made of the features.

        Returns:
            tuple[Tensor, Tensor | None]: Objectness (N, num_base_priors, H, W), and box deltas
            (N, num_base_priors * box_dim, H, W), None without regression.
        """
        if not self.shared_conv:
            x = self.rpn_conv(x).relu()
        return self.rpn_cls(x), self.rpn_reg(x) if self.regress else None

    def loss_and_hardness(
        self,
        x: Tuple[Tensor],
        rpn_outs: Tuple[List[Tensor], List[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: List[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> Tuple[dict, Tensor]:
        """Learn what the RPN gets wrong, and tell how hard each anchor is.

        Args:
            x (tuple[Tensor]): What this head sees, one (N, C, H, W) a level.
            rpn_outs (tuple[list[Tensor], list[Tensor]]): The RPN's objectness and box deltas, a map a level. No
                gradient goes through them.
            batch_gt_instances (list[InstanceData]): Objects.
            batch_img_metas (list[dict]): MMDetection's meta information.
            batch_gt_instances_ignore (list[InstanceData | None], optional): Ignored objects.

        Returns:
            tuple[dict, Tensor]: Its losses and the number of false positives a picture, for the log; and the
            hardness of the anchors as a logit, (N, num_priors), detached.
        """
        if self.detach_features:
            x = tuple(level.detach() for level in x)
        with record_function('nRPN: forward'):
            outs = self(x)
        with record_function('nRPN: mining'):
            objectness = objectness_logits(rpn_outs[0])
            sizes = [level.shape[-2:] for level in rpn_outs[0]]
            levels = self.prior_generator.grid_priors(sizes, device=objectness.device)
            priors = torch.cat([get_box_tensor(level) for level in levels])
            mined = mine_candidates(
                objectness,
                flatten_levels([level.detach() for level in rpn_outs[1]], self.bbox_coder.encode_size),
                priors,
                self.bbox_coder,
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
                **self.train_cfg.false_positives,
            )
        with record_function('nRPN: loss'):
            if self.train_cfg.assigns:
                objects = [_as_objects(*picture) for picture in zip(mined.bboxes, mined.scores, mined.is_false)]
                losses = self.loss_by_feat(*outs, objects, batch_img_metas, hardness=objectness)
            else:
                losses = self._loss_on_candidates(*outs, mined, objectness, priors)
        for name in ('loss_rpn_cls', 'loss_rpn_bbox'):
            if name in losses:
                losses[name] = [self.loss_weight * level for level in losses[name]]
        losses['rpn_false_positives'] = mined.is_false.sum(1).float().mean()
        return {name.replace('rpn', 'nrpn'): value for name, value in losses.items()}, self.hardness(*outs, priors)

    def hardness(self, cls_scores: List[Tensor], bbox_preds: List[Optional[Tensor]], priors: Tensor) -> Tensor:
        """How hard each anchor is: here nRPN's objectness of it. A subclass may see it otherwise.

        Args:
            cls_scores (list[Tensor]): This head's objectness, one (N, num_base_priors, H, W) a level.
            bbox_preds (list[Tensor | None]): Its box deltas, one (N, num_base_priors * box_dim, H, W) a level.
            priors (Tensor): Anchors, (num_priors, 4) in pixels of the input.

        Returns:
            Tensor: (N, num_priors) float32, detached; larger is harder, -inf is never drawn as hard.
        """
        return objectness_logits(cls_scores)

    def _loss_on_candidates(
        self,
        cls_scores: List[Tensor],
        bbox_preds: List[Optional[Tensor]],
        mined: Candidates,
        objectness: Tensor,
        priors: Tensor,
    ) -> dict:
        """Losses on what was drawn of the candidates, positives first, and of all other anchors."""
        inds, weights, bboxes = self._draw(mined, objectness)
        num_pos, num_samples = bboxes.shape[1], weights.sum().clamp(min=1)
        pos_inds, pos_weights, bboxes = inds[:, :num_pos], weights[:, :num_pos].flatten(), bboxes.flatten(0, 1)
        anchors = priors[pos_inds.flatten()]
        labels = torch.ones_like(inds)  # 1 is background
        labels[:, :num_pos] = 0
        target = labels.flatten()
        if isinstance(self.loss_cls, OverlapLoss):
            overlaps = torch.zeros_like(weights)
            overlaps[:, :num_pos] = bbox_overlaps(anchors, bboxes, is_aligned=True).view(pos_inds.shape)
            target = OverlapTarget(target, overlaps.flatten())
        logits = _pick(flatten_levels(cls_scores, 1), inds)
        losses = dict(loss_rpn_cls=[self.loss_cls(logits, target, weights.flatten(), avg_factor=num_samples)])
        if self.regress:
            deltas = _pick(flatten_levels(bbox_preds, self.bbox_coder.encode_size), pos_inds)
            # where there is nothing to learn, a target that is finite
            targets = torch.where(pos_weights[:, None] > 0, bboxes, anchors)
            if self.reg_decoded_bbox:
                deltas = get_box_tensor(self.bbox_coder.decode(anchors, deltas))
            else:
                targets = self.bbox_coder.encode(anchors, targets)
            weights = pos_weights[:, None].expand_as(targets)
            losses['loss_rpn_bbox'] = [self.loss_bbox(deltas, targets, weights, avg_factor=num_samples)]
        return losses

    def _draw(self, mined: Candidates, objectness: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """Anchors of false positives, of true ones and random ones, as many of each kind in every picture.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Which anchors, (N, num); their weights, 0 where a kind has too few to fill
            its places; and the boxes of the P false positives that come first, (N, P, 4).
        """
        num_pos = int(self.sampler.num * self.sampler.pos_fraction)
        num_neg = self.sampler.num - num_pos
        pos, is_pos = draw(mined.is_false, num_pos)
        true, is_true = draw(mined.is_true, int(self.train_cfg.true_fraction * num_neg))
        # with replacement: among so many it hardly matters, and needs no look at all of them
        others = torch.randint(objectness.shape[1], (len(pos), num_neg - true.shape[1]), device=pos.device)
        # of those that the RPN believes in, only candidates were compared with the objects
        is_other = objectness.gather(1, others).sigmoid() < self.train_cfg.false_positives['score_thr']
        inds = torch.cat([mined.inds.gather(1, pos), mined.inds.gather(1, true), others], dim=1)
        weights = torch.cat([is_pos, is_true, is_other], dim=1).float()
        return inds, weights, mined.bboxes.gather(1, pos[..., None].expand(-1, -1, 4))


def _pick(values: Tensor, inds: Tensor) -> Tensor:
    """Values (N, num_priors, size) of the anchors (N, num), one after the other: (N * num, size), in float32."""
    return values.gather(1, inds[..., None].expand(-1, -1, values.shape[-1])).flatten(0, 1).float()


def _as_objects(bboxes: Tensor, scores: Tensor, is_false: Tensor) -> InstanceData:
    """A picture's false positives after NMS, as objects to assign anchors to."""
    kept = nms(bboxes[is_false], scores[is_false], 0.7)[1][:MAX_OBJECTS]
    bboxes = bboxes[is_false][kept]
    return InstanceData(bboxes=bboxes, labels=torch.zeros_like(kept))
