from typing import List, Tuple

import torch
from mmcv.ops import nms
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ...utils import Candidates, in_float32, objectness_logits

# An RPN's own threshold of NMS.
NMS_IOU_THR = 0.7
# An object costs its overlap with every anchor.
MAX_OBJECTS = 64


@MODELS.register_module()
class PaperNRPNHead(RPNHead):
    """The paper's nRPN: a second RPN whose objects are the false positives of the first (poster, Fig. 1b).

    It has a convolution of its own. Its objects in an image are the RPN's false positives after NMS, at most the 64
    with the best scores. Anchors are assigned to them, sampled and regressed as an RPN's. Its objectness of an anchor
    is that anchor's hardness. What the poster leaves open is not in the paper: the RPN's top 1000 anchors before NMS,
    an IoU below 0.3 for a false positive, 64 objects, and features that are detached, so that nRPN's loss does not
    train the backbone to see background as objects.

    :class:`~mmdet_nrpn.models.HardNegativeRPNHead` builds it with its own arguments, except ``init_cfg``; what
    ``nrpn_head`` sets takes their place, and each key of ``nrpn_head.train_cfg`` that of the RPN's ``train_cfg``
    (``sampler=None`` trains on all anchors). Its arguments are ``RPNHead``'s, and its anchors the RPN's. An
    :class:`~mmdet_nrpn.models.NRPNSampler` samples at random here, and in the place of an
    :class:`~mmdet_nrpn.models.OverlapLoss` there is cross entropy.
    """

    max_num = 1000
    iou_thr = 0.3
    # It may inherit an NRPNSampler, which then has no hardness, on purpose.
    may_have_nrpn_sampler = True

    def loss_and_hardness(
        self, x: Tuple[Tensor], hidden: Tuple[Tensor], mined: Candidates, batch_img_metas: List[dict]
    ) -> Tuple[dict, Tensor]:
        """Train on the RPN's false positives, and say how hard each anchor is.

        Args:
            x (tuple[Tensor]): The RPN's input, one (N, in_channels, H, W) per level, used detached.
            hidden (tuple[Tensor]): Not used: the RPN's hidden features.
            mined (Candidates): The RPN's top anchors, compared with the objects.
            batch_img_metas (list[dict]): MMDetection's meta information.

        Returns:
            tuple[dict, Tensor]: ``loss_nrpn_cls`` and ``loss_nrpn_bbox``; and this head's objectness logit of every
            anchor, (N, A) float32, detached.
        """
        outs = in_float32(self(tuple(level.detach() for level in x)))
        objects = [_as_objects(*image) for image in zip(mined.bboxes, mined.logits, mined.is_false)]
        losses = self.loss_by_feat(*outs, objects, batch_img_metas)
        losses = {name.replace('rpn', 'nrpn'): value for name, value in losses.items()}
        return losses, objectness_logits(outs[0]).detach()


def _as_objects(bboxes: Tensor, logits: Tensor, is_false: Tensor) -> InstanceData:
    """An image's false positives after NMS, best first, as objects."""
    bboxes = bboxes[is_false]
    bboxes = bboxes[nms(bboxes, logits[is_false].sigmoid(), NMS_IOU_THR)[1][:MAX_OBJECTS]]
    return InstanceData(bboxes=bboxes, labels=torch.zeros(len(bboxes), dtype=torch.long, device=bboxes.device))
