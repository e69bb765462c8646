"""nRPN's hardness for the negatives that QDTrack's embedding learns from: a trial, imported by its config alone."""

from typing import Any, List, Optional

import torch
from mmcv.ops import roi_align
from mmdet.models.mot import QDTrack
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import MODELS, TASK_UTILS
from torch import Tensor

from .nrpn_sampler import NRPNSampler


@TASK_UTILS.register_module()
class NRPNTrackSampler(NRPNSampler):
    """Samples part of a track head's negatives from the proposals that the nRPN finds hardest (not in the paper).

    For ``neg_sampler`` of a ``CombinedSampler``, within a :class:`NRPNTrackSamplerQDTrack`. The hardness of a proposal
    is the nRPN's n at its centre, on the level whose anchors are of its size, the largest of that place's anchors.

    Args:
        kwargs: Arguments of :class:`~mmdet_nrpn.models.NRPNSampler`. Objects may be among the proposals.
    """

    rpn_head: Any = None

    def __init__(self, *args, add_gt_as_proposals: bool = False, context: Any = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)  # CombinedSampler adds the objects before it asks for negatives

    def _sample_neg(
        self, assign_result: AssignResult, num_expected: int, hardness: Optional[Tensor] = None, **kwargs
    ) -> Tensor:
        hardness = self.hardness_of(kwargs['bboxes'], kwargs['feats'])
        return super()._sample_neg(assign_result, num_expected, hardness=hardness)

    @torch.no_grad()
    def hardness_of(self, bboxes: Tensor, feats: List[Tensor]) -> Tensor:
        """The nRPN's n of each box.

        Args:
            bboxes (Tensor): (x1, y1, x2, y2) in pixels of the input, (M, 4).
            feats (list[Tensor]): Features of the image, one (1, C, H, W) per level.

        Returns:
            Tensor: (M,) float32.
        """
        _, hidden = self.rpn_head.forward_with_hidden(feats)
        anchors = self.rpn_head.prior_generator
        sides = bboxes.new_tensor([base[:, 2:].sub(base[:, :2]).prod(1).sqrt().mean() for base in anchors.base_anchors])
        side = (bboxes[:, 2:] - bboxes[:, :2]).clamp(min=1).prod(1).sqrt()
        level = (side[:, None] / sides).log().abs().argmin(1)
        rois = torch.cat([torch.zeros_like(side)[:, None], bboxes], dim=1)
        hardness = bboxes.new_zeros(len(bboxes))
        outs = self.rpn_head.forward_nrpn(feats, hidden)
        scores = outs[0] if isinstance(outs, tuple) else outs  # a PaperNRPNHead gives boxes, too
        for number, (logits, stride) in enumerate(zip(scores, anchors.strides)):
            on_level = level == number
            if not on_level.any():  # a GPU has no grid of 0 boxes
                continue
            # not aligned: as for anchors, place i of a level is at pixel i * stride
            at_centre = roi_align(logits.float(), rois[on_level], (1, 1), 1 / stride[0], 1, 'avg', False)
            hardness[on_level] = at_centre.amax(dim=(1, 2, 3))
        return hardness


@MODELS.register_module()
class NRPNTrackSamplerQDTrack(QDTrack):
    """QDTrack that tells its track head's ``NRPNTrackSampler`` which RPN to ask.

    Raises:
        ValueError: If the detector's RPN has no nRPN, or the track head has another sampler of negatives.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not self.track_head.train_cfg:
            return
        rpn_head = getattr(self.detector, 'rpn_head', None)
        if getattr(rpn_head, 'nrpn_head', None) is None:
            raise ValueError(
                'NRPNTrackSamplerQDTrack: detector.rpn_head has no nRPN that could choose negatives for the track '
                "head; write detector.rpn_head.type='HardNegativeRPNHead', or type='QDTrack' and a stock sampler"
            )
        sampler = getattr(self.track_head.bbox_sampler, 'neg_sampler', self.track_head.bbox_sampler)
        if not isinstance(sampler, NRPNTrackSampler):
            raise ValueError(
                f'NRPNTrackSamplerQDTrack: track_head.train_cfg.sampler takes negatives by a {type(sampler).__name__}, '
                "which asks no nRPN; write neg_sampler.type='NRPNTrackSampler' there, or type='QDTrack'"
            )
        sampler.rpn_head = rpn_head
