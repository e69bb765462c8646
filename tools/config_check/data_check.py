"""What is wrong with a data set, in one line that names the key, the file and the remedy."""

import sys
from collections import Counter
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

import pandas as pd
from mmdet.datasets import XMLDataset
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.models import RPN
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from torch import nn
from torch.utils.data import Dataset

from .annotations import read_objects
from .explain import named
from .image_check import check_images
from .objects import check_boxes, other_names, tell_faults


class Found(NamedTuple):
    """What was found in all parts of a data set."""

    counts: Counter  # of objects that count, by their class
    objects: List[pd.DataFrame]  # all that stand in files in VOC's or COCO's format
    label_names: Dict[str, Tuple[str, ...]]  # the class of each label, by annotation file


def build_checked(cfg: dict, key: str) -> Dataset:
    """Build a data set, also one in wrappers such as RepeatDataset, and look at its annotations, classes and images.

    What may be meant, such as objects of a class that is not trained, is told on stderr. A ValueError tells if nothing
    could be trained or measured on it, or an image or an annotation file is broken.

    ``key`` is where the config stands, such as 'train_dataloader.dataset'. The data set gets ``label_names``: the class
    of each label, by annotation file.
    """
    found = Found(Counter(), [], {})
    dataset = _build(cfg, key, found)
    dataset.label_names = found.label_names
    if found.objects:
        objects, classes = pd.concat(found.objects), dataset.metainfo.get('classes') or ()
        if not found.counts:
            raise ValueError(f'{key}: {_why_none(objects, classes)}, and check its ann_file')
        written, unseen = {*objects.name}, [name for name in classes if name not in found.counts]
        groups = [[name] for name in unseen if name in written]
        for names in (*groups, [name for name in unseen if name not in written]):
            if names:
                print(f'{key}: {_why_none(objects, names)}', file=sys.stderr)
    return dataset


def _build(cfg: dict, key: str, found: Found) -> Dataset:
    kind = DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if 'dataset' in cfg:
        _build(cfg['dataset'], f'{key}.dataset', found)
    elif 'datasets' in cfg:
        for number, part in enumerate(cfg['datasets']):
            _build(part, f'{key}.datasets[{number}]', found)
    elif kind is not None and issubclass(kind, BaseDataset):
        with named(key):
            return _build_part(DATASETS.build(dict(cfg, lazy_init=True)), key, found)
    return DATASETS.build(cfg)


def _build_part(dataset: BaseDataset, key: str, found: Found) -> BaseDataset:
    _check_classes(dataset)
    objects, names = read_objects(dataset)
    with named(str(dataset.ann_file)):
        infos = dataset.load_data_list()
    vars(dataset).pop('COCOAPI', None)  # it holds the whole file
    counts = _count(infos, names)
    found.counts.update(counts)
    found.objects.append(objects)
    found.label_names[str(dataset.ann_file)] = names
    if len(objects) and not counts:
        raise ValueError(_why_none(objects, names))
    boxes = check_boxes(objects[objects.name.isin(names)], isinstance(dataset, XMLDataset))
    for text in (*other_names(objects, names), *boxes, *check_images(dataset, infos), *_check_filter(dataset, infos)):
        print(f'{key}: {text}', file=sys.stderr)
    dataset.load_data_list = lambda: infos  # once is enough
    with named(f'indices, of {len(infos)} images'):
        dataset.full_init()
    _check_masks(dataset)
    dataset[0]  # its pipeline works
    return dataset


def _check_masks(dataset: BaseDataset) -> None:
    steps = (step for step in dataset.pipeline.transforms if type(step).transform is LoadAnnotations.transform)
    if any(step.with_mask for step in steps):
        for info in map(dataset.get_data_info, range(len(dataset))):
            if any('mask' not in item for item in info.get('instances', ())):
                raise ValueError(f'{info["img_path"]} has an object without a mask; write its segmentation or drop it')


def _check_classes(dataset: BaseDataset) -> None:
    classes = dataset.metainfo.get('classes') or ()
    is_list = isinstance(classes, (list, tuple))
    names = classes if is_list else [classes] if isinstance(classes, str) else sorted(classes)
    right = tuple(dict.fromkeys(name for name in names if str(name).strip()))
    if not is_list or [*classes] != [*right] or (not right and isinstance(dataset, XMLDataset)):
        raise ValueError(
            f'metainfo={dataset.metainfo} has no classes as a tuple of different names, whose order labels follow; '
            f'write metainfo=dict(classes={right or ("cat", "dog")})'
        )


def _count(infos: List[dict], names: Sequence[str]) -> Counter:
    """How many objects there are of each class, without ignored ones and those whose box has no area."""
    counts: Counter = Counter()
    for frame in (frame for info in infos for frame in info.get('images', [info])):  # a video has several
        for instance in frame.get('instances', ()):
            x1, y1, x2, y2 = instance['bbox']
            # boxes in fractions of the image may be rounded to one pixel in its corner
            if not instance.get('ignore_flag') and x2 > x1 and y2 > y1 and max(x2, y2) > 2:
                label = instance['bbox_label']
                counts[names[label] if label < len(names) else label] += 1
    return counts


def _why_none(objects: pd.DataFrame, classes: Sequence[str]) -> str:
    """Why no object of some classes counts, and what to do."""
    reason = 'there is none in its annotations'
    if len(objects):
        called = f'objects (first: {objects.place.iloc[0]}) are called {sorted({*objects.name.map(str)})}'
        faults = tell_faults(objects[objects.name.isin(classes)])
        reason = next(faults, f'{called}; write the names as they are there')
    return f'no object of classes={tuple(classes)} counts: {reason}'


def _check_filter(dataset: BaseDataset, infos: List[dict]) -> Iterator[str]:
    dataset.data_list = infos
    left = len(dataset.filter_data())
    text = f'filter_cfg={dataset.filter_cfg} leaves {left} of {len(infos)} images: those of min_size, and with objects'
    if not left:
        raise ValueError(f'{text}; change it, or check {dataset.ann_file}')
    if left < len(infos):
        yield text


def compare_labels(train_set: Dataset, val_set: Dataset, model: nn.Module) -> None:
    """Raise a ValueError if a class has two labels in sets of ``build_checked``, or its label is the background's."""
    train, val = (tuple(data.metainfo.get('classes') or ()) for data in (train_set, val_set))
    if train != val:
        raise ValueError(
            f'val_dataloader.dataset has classes={val} and train_dataloader.dataset has {train}; write the same into '
            'both (others on purpose: train first, then measure with --checkpoints)'
        )
    (first, names), *others = {**train_set.label_names, **val_set.label_names, **{'metainfo.classes': train}}.items()
    if isinstance(model, RPN):  # what labels mean is nothing to it
        return
    for file, other in others:
        text = f'{file} has {other} and {first} has {names}: labels follow the order in the file; write all alike'
        if other != names and file == 'metainfo.classes':  # only names of detections are wrong
            print(text, file=sys.stderr)
        elif other != names:
            raise ValueError(text)
    for name, module in model.named_modules():
        room = getattr(module, 'num_classes', None)
        if {'bbox_head', 'mask_head'} & {*name.split('.')} and isinstance(room, int) and room < len(names):
            raise ValueError(f'{name} has num_classes={room} for {len(names)} classes; write num_classes={len(names)}')
