from typing import Any, List, Tuple

import torch
from torch import Tensor


def flatten_levels(maps: List[Tensor], size: int) -> Tensor:
    """An RPN's output, a map (N, num_base_priors * size, H, W) per level, in the order of its anchors.

    That is (N, num_anchors, size), levels one after the other, anchors of one place together.
    """
    return torch.cat([level.permute(0, 2, 3, 1).reshape(len(level), -1, size) for level in maps], dim=1)


def objectness_logits(cls_scores: List[Tensor]) -> Tensor:
    """Logits of every anchor, (N, num_anchors) float32 with gradient, from a map (N, num_base_priors, H, W) per level.

    Logits and not probabilities: sigmoid makes ties of large logits, above all in half precision.
    """
    return flatten_levels(cls_scores, 1).squeeze(-1).float()


def in_float32(outs: Tuple[List[Any], ...]) -> Tuple[List[Any], ...]:
    """An RPN's outputs (objectness and box deltas, a list of levels each) in float32, to predict from.

    In half precision, boxes would be pixels off, and NMS on the CPU takes none.
    """
    return tuple([level if level is None else level.float() for level in levels] for levels in outs)
