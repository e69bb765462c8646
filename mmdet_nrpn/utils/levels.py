from typing import Any, List, Tuple

import torch
from torch import Tensor


def flatten_levels(maps: List[Tensor], size: int) -> Tensor:
    """Flatten an RPN's output maps into the order of its anchors.

    Args:
        maps (list[Tensor]): One map per level, (N, num_base_priors * size, H, W).
        size (int): Values per anchor.

    Returns:
        Tensor: (N, num_anchors, size), levels one after the other, anchors of one place together.
    """
    return torch.cat([level.permute(0, 2, 3, 1).reshape(len(level), -1, size) for level in maps], dim=1)


def objectness_logits(cls_scores: List[Tensor]) -> Tensor:
    """Logits of every anchor, in float32, with their gradient.

    Logits and not probabilities: sigmoid makes ties of large logits, above all in half precision.

    Args:
        cls_scores (list[Tensor]): One map per level, (N, num_base_priors, H, W).

    Returns:
        Tensor: (N, num_anchors) float32.
    """
    return flatten_levels(cls_scores, 1).squeeze(-1).float()


def in_float32(outs: Tuple[List[Any], ...]) -> Tuple[List[Any], ...]:
    """An RPN's outputs to predict from: in half precision, boxes would be pixels off, and NMS on the CPU takes none.

    Args:
        outs (tuple[list[Tensor | None]]): Objectness and box deltas, one map per level.

    Returns:
        tuple[list[Tensor | None]]: The same in float32.
    """
    return tuple([level if level is None else level.float() for level in levels] for levels in outs)
