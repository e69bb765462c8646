from typing import Any, List, Tuple

import torch
from mmcv.ops import nms
from mmdet.models.dense_heads import RPNHead
from mmdet.models.losses import CrossEntropyLoss
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ...utils import Candidates, check_number, in_float32, objectness_logits
from ..losses import OverlapLoss

RPN_TRAIN_CFG = {'assigner', 'sampler', 'allowed_border', 'pos_weight', 'debug'}


@MODELS.register_module()
class PaperNRPNHead(RPNHead):
    """The paper's nRPN: a second RPN whose objects are the false positives of the first (poster, Fig. 1b).

    It has a convolution of its own. Its objects in an image are the RPN's false positives after NMS, those with the
    best scores. Anchors are assigned to them, sampled and regressed as an RPN's. Its objectness of an anchor is that
    anchor's hardness. The numbers below and that features are detached, so that nRPN's loss does not train the backbone
    to see background as objects, are not in the paper.

    :class:`~mmdet_nrpn.models.HardNegativeRPNHead` builds it with its own arguments, except ``init_cfg``; what
    ``nrpn_head`` sets takes their place, and each key of ``nrpn_head.train_cfg`` that of the RPN's ``train_cfg``
    (``sampler=None`` trains on all anchors). An :class:`~mmdet_nrpn.models.NRPNSampler` samples at random here, and in
    the place of an :class:`~mmdet_nrpn.models.OverlapLoss` there is cross entropy.

    Args:
        in_channels (int): Channels of the features.
        max_num (int): The RPN's top anchors per image that are mined, at least 1. Defaults to 1000.
        iou_thr (float): Below this IoU with every object a box is a false positive, in (0, 1]. Defaults to 0.3.
        nms_iou_thr (float): IoU threshold of NMS on the false positives, in [0, 1]. Defaults to 0.7.
        max_objects (int): Objects per image, at least 1. Each costs its overlap with every anchor. Defaults to 64.
        kwargs: Arguments of ``RPNHead``.

    Raises:
        ValueError: If an argument is out of its range, or the anchors are other than the RPN's.
    """

    # It may inherit an NRPNSampler, which then has no hardness, on purpose.
    may_have_nrpn_sampler = True

    def __init__(
        self,
        in_channels: int,
        max_num: int = 1000,
        iou_thr: float = 0.3,
        nms_iou_thr: float = 0.7,
        max_objects: int = 64,
        **kwargs,
    ) -> None:
        check_number('PaperNRPNHead', 'rpn_head.nrpn_head.max_num', max_num, 1, integer=True)
        check_number('PaperNRPNHead', 'rpn_head.nrpn_head.iou_thr', iou_thr, 0, 1, above_low=True)
        check_number('PaperNRPNHead', 'rpn_head.nrpn_head.nms_iou_thr', nms_iou_thr, 0, 1)
        check_number('PaperNRPNHead', 'rpn_head.nrpn_head.max_objects', max_objects, 1, integer=True)
        super().__init__(in_channels, **kwargs)
        self.max_num, self.max_objects = int(max_num), int(max_objects)
        self.iou_thr, self.nms_iou_thr = iou_thr, nms_iou_thr

    @classmethod
    def from_rpn(cls, rpn: RPNHead, rpn_cfg: dict, **settings) -> 'PaperNRPNHead':
        """The nRPN of an RPN.

        Args:
            rpn (RPNHead): The RPN.
            rpn_cfg (dict): The arguments of ``RPNHead`` that it was built with.
            settings: Arguments of this class, in the place of the RPN's.

        Raises:
            ValueError: For a key of ``train_cfg`` that an RPN does not have, or other anchors.
        """
        # weights to start from belong to the head that they are named for
        inherited = {key: value for key, value in rpn_cfg.items() if key != 'init_cfg'}
        if isinstance(rpn.loss_cls, OverlapLoss):  # an nRPN has no overlaps to hand over
            weight = rpn.loss_cls.loss_weight
            inherited['loss_cls'] = dict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=weight)
        own = settings.pop('train_cfg', None)
        if own is not None and rpn.train_cfg:
            unknown = sorted(set(own) - set(rpn.train_cfg) - RPN_TRAIN_CFG)
            if unknown:
                raise ValueError(
                    f'rpn_head.nrpn_head.train_cfg.{unknown[0]}={own[unknown[0]]!r} is no setting of an RPN; write one '
                    f'of {sorted(RPN_TRAIN_CFG)}'
                )
            inherited['train_cfg'] = {**rpn.train_cfg, **own}
        nrpn = cls(**{**inherited, **settings})
        if _anchors(rpn.prior_generator) != _anchors(nrpn.prior_generator):
            raise ValueError(
                'rpn_head.nrpn_head.anchor_generator gives other anchors than rpn_head.anchor_generator, and the nRPN '
                "says how hard the RPN's are; remove it"
            )
        return nrpn

    def loss_and_hardness(
        self, x: Tuple[Tensor], hidden: Tuple[Tensor], mined: Candidates, batch_img_metas: List[dict]
    ) -> Tuple[dict, Tensor]:
        """Train on the RPN's false positives, and say how hard each anchor is.

        Arguments are those of :meth:`NRPNHead.loss_and_hardness`. ``x``, the RPN's input, one (N, in_channels, H, W)
        per level, is used detached, and ``hidden`` is not used.

        Returns:
            tuple[dict, Tensor]: ``loss_nrpn_cls`` and ``loss_nrpn_bbox``; and this head's objectness logit of every
            anchor, (N, A) float32, detached.

        Raises:
            ValueError: If the assigner needs more of an object than its box and label.
        """
        outs = in_float32(self(tuple(level.detach() for level in x)))
        objects = [self._as_objects(*image) for image in zip(mined.bboxes, mined.logits, mined.is_false)]
        try:
            losses = self.loss_by_feat(*outs, objects, batch_img_metas)
        except AttributeError as error:  # of an assigner or a sampler that reads more of the objects
            if not isinstance(error.obj, InstanceData):
                raise
            raise ValueError(
                f'PaperNRPNHead: its assigner {type(self.assigner).__name__} or sampler {type(self.sampler).__name__} '
                f"reads objects.{error.name}, which false positives lack, and is the RPN's unless it has its own; "
                "write nrpn_head.train_cfg.assigner=dict(type='MaxIoUAssigner', ...), or a sampler there"
            ) from error
        losses = {name.replace('rpn', 'nrpn'): value for name, value in losses.items()}
        return losses, objectness_logits(outs[0]).detach()

    def _as_objects(self, bboxes: Tensor, logits: Tensor, is_false: Tensor) -> InstanceData:
        """An image's false positives after NMS, best first, as objects."""
        bboxes = bboxes[is_false]
        bboxes = bboxes[nms(bboxes, logits[is_false].sigmoid(), self.nms_iou_thr)[1][: self.max_objects]]
        return InstanceData(bboxes=bboxes, labels=torch.zeros(len(bboxes), dtype=torch.long, device=bboxes.device))

    def forward_beside(self, x: Tuple[Tensor], hidden: Tuple[Tensor]) -> tuple:
        """This head's outputs, from the RPN's input ``x``."""
        return self(x)

    def as_rpn_outs(self, outs: tuple, rpn_outs: tuple) -> tuple:
        """Objectness and box deltas of its regions: its own outputs."""
        return outs


def _anchors(generator: Any) -> tuple:
    """What is the same for two generators whose anchors are the same, in the same order."""
    return list(generator.strides), [level.tolist() for level in getattr(generator, 'base_anchors', [])]
