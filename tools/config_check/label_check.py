"""Whether a class has one label in all files, and the detector's head has room for it."""

from typing import Dict, Sequence, Tuple

from mmdet.models import RPN
from torch import nn
from torch.utils.data import Dataset

from .remarks import remark


def compare_labels(train_set: Dataset, val_set: Dataset, model: nn.Module) -> None:
    """Compare what labels mean in training and measuring; what they mean is nothing to an RPN alone.

    Args:
        train_set (Dataset): From ``build_checked``.
        val_set (Dataset): Likewise.
        model (nn.Module): That is to be trained.

    Raises:
        ValueError: If a class has two labels, or its label is that of the background.
    """
    train, val = (tuple(data.metainfo.get('classes') or ()) for data in (train_set, val_set))
    if train != val:
        raise ValueError(
            f'val_dataloader.dataset has classes={val} and train_dataloader.dataset has {train}; write the same '
            'metainfo=dict(classes=...) into both (others on purpose: train first, then measure with --checkpoints)'
        )
    names: Dict[str, Tuple[str, ...]] = {**train_set.label_names, **val_set.label_names}
    if isinstance(model, RPN) or not names:
        return
    first, *others = names
    for file in others:
        if names[file] != names[first]:
            raise ValueError(
                f'{file} has the categories {names[file]} and {first} has {names[first]}: labels follow their order in '
                'the file; write them in the same order'
            )
    if names[first] != train:
        remark(
            f'{first} has the categories {names[first]}, whose order labels follow, and metainfo.classes={train}; '
            'write classes in that order, or detections get wrong names'
        )
    _check_room(model, names[first])


def _check_room(model: nn.Module, names: Sequence[str]) -> None:
    for name, module in model.named_modules():
        room = getattr(module, 'num_classes', None)
        if 'bbox_head' in name.split('.') and isinstance(room, int) and room < len(names):
            raise ValueError(
                f'{name} has num_classes={room} for {len(names)} classes, and labels from {room} on are its '
                f'background; write num_classes={len(names)}'
            )
