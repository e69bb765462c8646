from typing import List, Optional

import torch
from mmcv.ops import nms
from mmdet.registry import MODELS
from torch import Tensor

from ..models import NRPNHead
from ..models.utils import decode_at, flatten_levels

MAX_REGIONS = 1000
IOU_THR = 0.7


@MODELS.register_module()
class RegionNRPNHead(NRPNHead):
    """An nRPN whose proposals are drawn, not its anchors one by one: of many anchors on one spot, the hardest alone.

    Its thousand hardest anchors are decoded and go through NMS at 0.7, as an RPN's proposals do; the others are never
    drawn as hard. For the question whether near-duplicates among the hard draws do harm (docs/ablation.md).
    """

    @torch.no_grad()
    def hardness(self, cls_scores: List[Tensor], bbox_preds: List[Optional[Tensor]], priors: Tensor) -> Tensor:
        every = super().hardness(cls_scores, bbox_preds, priors)
        scores, inds = every.topk(min(MAX_REGIONS, every.shape[1]), dim=1)
        bboxes = priors[inds]
        if self.regress:
            deltas = flatten_levels(bbox_preds, self.bbox_coder.encode_size)
            bboxes = decode_at(inds, deltas, priors, self.bbox_coder)
        kept = torch.full_like(every, -torch.inf)
        for picture in range(len(every)):
            regions = nms(bboxes[picture], scores[picture], IOU_THR)[1]
            kept[picture, inds[picture, regions]] = scores[picture, regions]
        return kept
