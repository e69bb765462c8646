from typing import Tuple

import torch
from torch import Tensor


def draw(mask: Tensor, num: int) -> Tuple[Tensor, Tensor]:
    """A random choice of the set places of each row: as many from every row, drawn on the mask's device.

    Args:
        mask (Tensor): (..., N) bool.
        num (int): How many to draw of each row.

    Returns:
        tuple[Tensor, Tensor]: Distinct places in random order, (..., min(num, N)), and, of the same shape, which of
        them are set: where a row has fewer than ``num``, places that are not fill it up.

    Example:
        >>> places, is_set = draw(torch.tensor([False, True, False, True]), 3)
        >>> sorted(places[is_set].tolist())
        [1, 3]
    """
    keys = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1)
    drawn = keys.topk(min(num, mask.shape[-1]), dim=-1)
    return drawn.indices, drawn.values >= 0
