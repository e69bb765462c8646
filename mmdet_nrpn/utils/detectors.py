from pathlib import Path

from torch import nn

from .checkpoints import read_checkpoint


def rpn_of(model: nn.Module) -> nn.Module:
    """The RPN of a detector: MMDetection's ``RPN`` calls it ``bbox_head``, those with a second stage ``rpn_head``."""
    return model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head


def load_weights(model: nn.Module, path: Path) -> dict:
    """Load a checkpoint as MMDetection does, which renames the weights of an RPN inside a two-stage detector.

    Args:
        model (nn.Module): May have an nRPN that the checkpoint lacks, and lack what the checkpoint has.
        path (Path): A local file.

    Returns:
        dict: The weights, by the names that they have in the file.

    Raises:
        ValueError: If the checkpoint lacks weights of the model, has them in another shape, or cannot be read.
    """
    weights = read_checkpoint(path)
    weights = weights.get('state_dict', weights)
    try:
        missing = model.load_state_dict(dict(weights), strict=False).missing_keys
    except RuntimeError as error:  # of another shape
        missing = [' '.join(str(error).split()[:40])]
    missing = [key for key in missing if 'nrpn_head' not in key]
    if missing:
        raise ValueError(
            f'{path} is of another model: {len(missing)} of its weights are missing or of another shape, such as '
            f'{missing[0]}; give the checkpoint that was trained with this config'
        )
    return weights
