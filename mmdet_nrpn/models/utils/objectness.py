from typing import List

import torch
from torch import Tensor


def objectness_logits(cls_scores: List[Tensor]) -> Tensor:
    """Flatten an RPN's classification maps into the order of its anchors, detached.

    Logits and not probabilities: sigmoid makes ties of large logits, above all in half precision.

    Args:
        cls_scores (list[Tensor]): One map a level, (N, num_base_priors, H, W).

    Returns:
        Tensor: Logits, (N, num_priors) float32, levels one after the other, anchors of a place together.
    """
    return torch.cat([s.detach().permute(0, 2, 3, 1).flatten(1) for s in cls_scores], dim=1).float()
