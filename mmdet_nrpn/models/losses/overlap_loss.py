import warnings
from typing import NamedTuple, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from torch import Tensor, nn

from ...utils import check_number

REDUCTIONS = ('none', 'mean', 'sum')
# An object's best anchor may overlap it by almost nothing; below this, log and 1/IoU are cut off.
MIN_OVERLAP = 1e-6


class OverlapTarget(NamedTuple):
    """What :class:`OverlapLoss` learns from; ``AnchorHead`` may reshape it as if it were the labels alone.

    Attributes:
        labels (Tensor): 0 = object, 1 = background, of any shape.
        overlaps (Tensor): IoU of each positive anchor with its object, shaped as ``labels``.
    """

    labels: Tensor
    overlaps: Tensor

    def reshape(self, *shape: int) -> 'OverlapTarget':
        return OverlapTarget(self.labels.reshape(*shape), self.overlaps.reshape(*shape))


@MODELS.register_module()
class OverlapLoss(nn.Module):
    r"""Overlap Loss of nRPN (Cho et al., ICIP 2019, poster section "Overlap Loss").

    With objectness :math:`p = \sigma(pred)` and IoU the overlap of an anchor with its object, the loss of a
    negative anchor is :math:`-\log(1 - p)`, that of a positive one :math:`-\log \min(p / IoU, 1)`, without a gradient
    once :math:`p \ge IoU`. The poster prints :math:`-\log(p / IoU)`, which is a constant away from cross entropy and
    has its gradient; the minimum is not in the paper.

    Args:
        use_sigmoid (bool): Must be True, and must be spelled out in a config: ``AnchorHead`` reads it there to
            give an anchor one logit. Defaults to True.
        reduction (str): 'none', 'mean' or 'sum'. Defaults to 'mean'.
        loss_weight (float): Factor of the loss. Defaults to 1.0.

    Raises:
        ValueError: For ``use_sigmoid=False`` or an unknown reduction.

    Example:
        >>> loss = OverlapLoss(reduction='none')
        >>> labels, overlaps = torch.tensor([0, 0, 1]), torch.tensor([0.5, 1.0, 0.0])
        >>> loss(torch.tensor([0.0, 0.0, 0.0]), (labels, overlaps))  # p = 0.5 is enough for IoU 0.5, not for 1
        tensor([0.0000, 0.6931, 0.6931])
    """

    def __init__(self, use_sigmoid: bool = True, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        if not use_sigmoid:
            raise ValueError(
                'OverlapLoss is defined on one sigmoid per anchor, got use_sigmoid=False; '
                "write loss_cls=dict(type='OverlapLoss', use_sigmoid=True)"
            )
        if reduction not in REDUCTIONS:
            raise ValueError(f'OverlapLoss: reduction must be one of {REDUCTIONS}, got reduction={reduction!r}')
        check_number('OverlapLoss', 'loss_weight', loss_weight, 0)
        self.use_sigmoid, self.reduction, self.loss_weight = use_sigmoid, reduction, loss_weight

    def extra_repr(self) -> str:
        return f'reduction={self.reduction!r}, loss_weight={self.loss_weight}'

    def forward(
        self,
        pred: Tensor,
        target: Union[Tensor, Tuple[Tensor, Tensor]],
        weight: Optional[Tensor] = None,
        avg_factor: Optional[float] = None,
        reduction_override: Optional[str] = None,
    ) -> Tensor:
        """Compute the loss in logits, in float32 also for half precision input.

        Args:
            pred (Tensor): Objectness logits, (N,) or (N, 1).
            target (tuple[Tensor, Tensor] or Tensor): Labels and overlaps, both (N,). Label 0 = object, any other
                = background; overlaps are IoUs in [0, 1], used detached and only where the label is 0. Labels
                alone mean overlap 1, which is ``CrossEntropyLoss(use_sigmoid=True)``.
            weight (Tensor, optional): Weight of each anchor, (N,).
            avg_factor (float, optional): Divisor for reduction 'mean' instead of N.
            reduction_override (str, optional): Takes the place of ``reduction``.

        Returns:
            Tensor: The loss, shaped as ``pred`` for reduction 'none', else a scalar.

        Raises:
            ValueError: If there is not one logit for each label, or the reduction is unknown.
        """
        labels, overlaps = target if isinstance(target, tuple) else (target, None)
        if pred.numel() != labels.numel():
            raise ValueError(
                f'OverlapLoss needs one logit per label, got {tuple(pred.shape)} for {tuple(labels.shape)}; '
                "write use_sigmoid=True in loss_cls=dict(type='OverlapLoss', use_sigmoid=True)"
            )
        logits = pred.reshape(-1).to(torch.promote_types(pred.dtype, torch.float32))
        positive = labels.reshape(-1) == 0
        loss_pos = -F.logsigmoid(logits)
        if overlaps is None:
            warnings.warn(
                'OverlapLoss got no overlaps, so it is cross entropy; write '
                "type='HardNegativeRPNHead' for the RPN's head, which hands them over",
                stacklevel=2,
            )
        else:
            # Elsewhere an overlap may be anything: 1 keeps it out of the loss and of its gradient.
            overlaps = torch.where(positive, overlaps.detach().reshape(-1).to(logits.dtype), 1.0)
            # relu and not clamp: its gradient at p = IoU is 0, as the formula's
            loss_pos = (loss_pos + overlaps.clamp(MIN_OVERLAP, 1.0).log()).relu()
        loss = torch.where(positive, loss_pos, -F.logsigmoid(-logits)).reshape(pred.shape)
        if weight is not None:
            weight = weight.reshape(pred.shape).to(loss.dtype)
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)
