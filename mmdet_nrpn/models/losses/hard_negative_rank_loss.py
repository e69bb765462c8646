from typing import Optional

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from ...utils import check_number

# A weighted prior is cut off here, so that an infinite one leaves the loss finite: exp(-100) is next to nothing.
MOST = 100


@MODELS.register_module()
class HardNegativeRankLoss(nn.Module):
    r"""Ranks every positive of an image above the image's hardest negatives (not in the paper).

    With logits :math:`s`, the positives :math:`P` of an image, and :math:`K` its ``num_negatives`` negatives with the
    largest logits (all, if there are fewer),

    .. math::
        L = \frac{w}{\text{avg\_factor}} \sum_{\text{images}} \sum_{i \in P}
        \log \Bigl(1 + \sum_{j \in K} e^{s_j - s_i + c_j}\Bigr), \quad
        c_j = b\,n_j - \log \operatorname*{mean}_{k \in K} e^{b\,n_k}

    where :math:`n` is the prior (an nRPN's logits), :math:`b` is ``prior_weight`` and :math:`w` is ``loss_weight``.
    Without a prior, :math:`c_j = 0`. The prior's mean factor is 1, so it changes which negatives count and not how
    much all of them do. Time and memory grow linearly with the number of anchors.

    Args:
        loss_weight (float): :math:`w`, at least 0. Defaults to 0.01.
        num_negatives (int): Negatives per image, at least 1. Defaults to 256.
        prior_weight (float): :math:`b`. 0 is the loss without a prior. Defaults to 2.0.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> loss = HardNegativeRankLoss(loss_weight=1.0)
        >>> positive = torch.tensor([[True, False, False]])
        >>> loss(torch.zeros(1, 3), positive, ~positive)  # log(1 + 1 + 1)
        tensor(1.0986)
    """

    def __init__(self, loss_weight: float = 0.01, num_negatives: int = 256, prior_weight: float = 2.0) -> None:
        super().__init__()
        check_number('HardNegativeRankLoss', 'loss_weight', loss_weight, 0)
        check_number('HardNegativeRankLoss', 'num_negatives', num_negatives, 1, integer=True)
        check_number('HardNegativeRankLoss', 'prior_weight', prior_weight)
        self.loss_weight, self.num_negatives, self.prior_weight = loss_weight, int(num_negatives), prior_weight

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, num_negatives={self.num_negatives}, prior_weight={self.prior_weight}'

    def forward(
        self,
        logits: Tensor,
        positive: Tensor,
        negative: Tensor,
        prior: Optional[Tensor] = None,
        avg_factor: Optional[float] = None,
    ) -> Tensor:
        """Compute the loss, in float32 for half precision input.

        Args:
            logits (Tensor): Objectness, (N, A): N images, A anchors per image.
            positive (Tensor): Anchors to rank above, (N, A) bool.
            negative (Tensor): Anchors to choose the hardest from, (N, A) bool. An anchor in neither mask plays no part.
            prior (Tensor, optional): (N, A), used detached; larger counts more. NaN counts least.
                Where all that are chosen count least, they count alike.
            avg_factor (float, optional): Divisor. Defaults to None: the number of positives, at least 1.

        Returns:
            Tensor: A scalar. An image without positives or without negatives adds an exact 0 with a gradient of 0.

        Raises:
            ValueError: If the inputs differ in shape.
        """
        for name, value in dict(positive=positive, negative=negative, prior=prior).items():
            if value is not None and value.shape != logits.shape:
                raise ValueError(
                    f'HardNegativeRankLoss: {name} must have the shape of logits, {tuple(logits.shape)}, '
                    f'got {tuple(value.shape)}'
                )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        # The floor stands for what is not there. It is finite, so that an image without negatives has no NaN; and twice
        # it is finite, too. Its exponential is an exact 0.
        floor = torch.finfo(logits.dtype).min / 4
        hardest, inds = logits.masked_fill(~negative, floor).topk(min(self.num_negatives, logits.shape[1]), dim=1)
        if prior is not None and self.prior_weight:
            is_negative = negative.gather(1, inds)
            weighted = (self.prior_weight * prior.detach().to(logits.dtype).gather(1, inds)).nan_to_num(nan=-MOST)
            weighted = weighted.clamp(-MOST, MOST).masked_fill(~is_negative, floor)
            num = is_negative.sum(dim=1, keepdim=True, dtype=logits.dtype).clamp(min=1)
            hardest = hardest + weighted - (weighted.logsumexp(dim=1, keepdim=True) - num.log())
        loss = F.softplus((hardest.logsumexp(dim=1, keepdim=True) - logits).masked_fill(~positive, floor)).sum()
        if avg_factor is None:
            avg_factor = positive.sum().clamp(min=1)
        return self.loss_weight * loss / avg_factor
