from torch import nn


def rpn_of(model: nn.Module) -> nn.Module:
    """The RPN of a detector: MMDetection's ``RPN`` calls it ``bbox_head``, those with a second stage ``rpn_head``."""
    return model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head
