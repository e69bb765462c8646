from typing import List, Tuple

import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...utils import Candidates, check_number, objectness_logits


@MODELS.register_module()
class NRPNHead(BaseModule):
    r"""The negative RPN: a 1x1 convolution that learns what its RPN gets wrong (the residual is not in the paper).

    On the RPN's top ``max_num`` valid anchors of each image, with :math:`s` the RPN's logit and :math:`n` its own,

    .. math:: L = \operatorname{BCE}(\sigma(\operatorname{stopgrad}(s) - n), y)

    where :math:`y = 1` if the decoded box has an IoU of ``iou_thr`` or more with an object. Anchors on ignored objects
    are left out. So :math:`s - n` is the corrected logit, and :math:`n > 0` says that the RPN is too sure. The
    convolution sees the RPN's hidden features, detached, and starts at zero.

    :class:`~mmdet_nrpn.models.HardNegativeRPNHead` builds it and fills in the first two arguments. For the paper's
    nRPN see :class:`~mmdet_nrpn.models.PaperNRPNHead`.

    Args:
        feat_channels (int): Channels of the hidden features.
        num_base_priors (int): Anchors per location.
        max_num (int): Anchors per image to learn from, at least 1. Defaults to 300.
        iou_thr (float): A decoded box lies on an object from this IoU on, in (0, 1]. Defaults to 0.3.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(self, feat_channels: int, num_base_priors: int, max_num: int = 300, iou_thr: float = 0.3) -> None:
        super().__init__(init_cfg=dict(type='Constant', layer='Conv2d', val=0))
        check_number('NRPNHead', 'rpn_head.nrpn_head.max_num', max_num, 1, integer=True)
        check_number('NRPNHead', 'rpn_head.nrpn_head.iou_thr', iou_thr, 0, 1, above_low=True)
        self.max_num = int(max_num)
        self.iou_thr = iou_thr
        self.nrpn_cls = nn.Conv2d(feat_channels, num_base_priors, 1)

    @classmethod
    def from_rpn(cls, rpn: RPNHead, rpn_cfg: dict, **settings) -> 'NRPNHead':
        """The nRPN of an RPN, whose channels and anchors per location it takes.

        Args:
            rpn (RPNHead): The RPN.
            rpn_cfg (dict): Not used: the arguments of ``RPNHead`` that it was built with.
            settings: The other arguments of this class.
        """
        return cls(feat_channels=rpn.feat_channels, num_base_priors=rpn.num_base_priors, **settings)

    def forward(self, hidden: Tuple[Tensor]) -> List[Tensor]:
        """nRPN's logits.

        Args:
            hidden (tuple[Tensor]): The RPN's hidden features, one (N, feat_channels, H, W) per level.

        Returns:
            list[Tensor]: One (N, num_base_priors, H, W) per level.
        """
        return [self.nrpn_cls(level.detach()) for level in hidden]

    def loss_and_hardness(
        self, x: Tuple[Tensor], hidden: Tuple[Tensor], mined: Candidates, batch_img_metas: List[dict]
    ) -> Tuple[dict, Tensor]:
        """Learn what the RPN gets wrong, and say how hard each anchor is.

        Args:
            x (tuple[Tensor]): Not used: the RPN's input.
            hidden (tuple[Tensor]): The RPN's hidden features, one (N, feat_channels, H, W) per level.
            mined (Candidates): The RPN's top anchors, compared with the objects.
            batch_img_metas (list[dict]): Not used.

        Returns:
            tuple[dict, Tensor]: ``loss_nrpn_cls``, the mean over the batch's candidates; and n of every anchor, (N, A)
            float32, detached: larger means that the RPN is more wrong.
        """
        logits = objectness_logits(self(hidden))
        corrected = mined.logits - logits.gather(1, mined.inds)
        learns = mined.is_true | mined.is_false
        # an invalid anchor's logit is -inf
        corrected = corrected.masked_fill(~learns, 0)
        target = mined.is_true.float()
        loss = F.binary_cross_entropy_with_logits(corrected, target, learns.float(), reduction='sum')
        return dict(loss_nrpn_cls=[loss / learns.sum().clamp(min=1)]), logits.detach()

    def forward_beside(self, x: Tuple[Tensor], hidden: Tuple[Tensor]) -> List[Tensor]:
        """This head's outputs, from the RPN's hidden features."""
        return self(hidden)

    def as_rpn_outs(self, outs: List[Tensor], rpn_outs: tuple) -> tuple:
        """Objectness and box deltas of its regions: its own logits, and the RPN's deltas."""
        return outs, rpn_outs[1]
