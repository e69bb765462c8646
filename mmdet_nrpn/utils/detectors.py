from pathlib import Path

from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import RPN
from torch import nn

from .checkpoints import is_of_nrpn, read_checkpoint


def rpn_of(model: nn.Module) -> nn.Module:
    """The RPN, an ``RPNHead``, that a detector applies to its own features.

    MMDetection's ``RPN`` calls it ``bbox_head``, detectors with a second stage ``rpn_head``.

    Args:
        model (nn.Module): A detector, not wrapped for several processes.

    Returns:
        nn.Module: The RPN's head.

    Raises:
        ValueError: If it has none, or only within another detector inside, as ``SoftTeacher`` and ``QDTrack`` do.
    """
    head = getattr(model, 'rpn_head', None) or getattr(model, 'bbox_head', None)
    if isinstance(head, RPNHead):
        return head
    if isinstance(model, RPN) or getattr(model, 'rpn_head', None) is not None:
        raise ValueError(
            f'{type(model).__name__} has no RPN of its own: its {type(head).__name__} is no RPNHead; give the config '
            'of a detector with one'
        )
    inside = [
        name for name, module in model.named_modules() if name.endswith('.rpn_head') or isinstance(module, RPNHead)
    ]
    where = f', only those of detectors inside ({", ".join(inside)})' if inside else ''
    raise ValueError(f'{type(model).__name__} has no RPN of its own{where}; give the config of a detector with one')


def load_weights(model: nn.Module, path: Path) -> dict:
    """Load a checkpoint as MMDetection does, which renames the weights of an RPN inside a two-stage detector.

    Args:
        model (nn.Module): May have an nRPN that the checkpoint lacks, and lack what the checkpoint has.
        path (Path): A local file. Of a teacher's or a tracker's, whose detector lies inside, that detector's are taken.

    Returns:
        dict: The checkpoint. Its ``state_dict`` has the names of the file, but for the ``module.`` of a wrapped model
        and the ``teacher.`` or ``detector.`` of one inside.

    Raises:
        ValueError: If the checkpoint lacks weights of the model, has them in another shape, or cannot be read.
    """
    checkpoint = read_checkpoint(path)
    if 'state_dict' not in checkpoint:  # weights alone
        checkpoint = dict(state_dict=checkpoint)
    weights = {key.removeprefix('module.'): value for key, value in checkpoint['state_dict'].items()}
    weights = _of_detector_inside(weights, model)
    try:
        missing = model.load_state_dict(dict(weights), strict=False).missing_keys
    except RuntimeError as error:  # of another shape
        missing = [' '.join(str(error).split()[:40])]
    missing = [key for key in missing if not is_of_nrpn(key)]
    if missing:
        raise ValueError(
            f'{path} is of another model: {len(missing)} of its weights are missing or of another shape, such as '
            f'{missing[0]}; give the checkpoint that was trained with this config'
        )
    return {**checkpoint, 'state_dict': weights}


def _of_detector_inside(weights: dict, model: nn.Module) -> dict:
    for name in ('teacher', 'detector'):
        inside = {key.removeprefix(f'{name}.'): value for key, value in weights.items() if key.startswith(f'{name}.')}
        if inside and not hasattr(model, name):
            return inside
    return weights
