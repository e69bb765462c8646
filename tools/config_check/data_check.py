"""What is wrong with a data set, in one line that names the key, the file and the remedy."""

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from mmdet.datasets import CocoDataset, XMLDataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.fileio import list_from_file
from PIL import Image
from torch.utils.data import Dataset

from . import annotations


def build_checked(cfg: dict, key: str) -> Dataset:
    """Build a data set, also one in wrappers such as RepeatDataset, and look at its annotations, classes and images.

    Args:
        cfg (dict): Its config.
        key (str): Where the config stands, such as 'train_dataloader.dataset'.

    Returns:
        Dataset: What the config describes.

    Raises:
        ValueError: If nothing could be trained or measured on it, or an image or an annotation file is broken.
    """
    objects: Counter = Counter()
    dataset = _build(cfg, key, objects)
    if len(dataset) == 0:
        raise ValueError(f'{key} has no images; check its ann_file')
    if isinstance(_first_leaf(dataset), BaseDataset):
        if not objects:
            raise ValueError(f'{key} has no objects: its annotations name none; check its ann_file')
        unseen = [name for name in dataset.metainfo.get('classes') or () if name not in objects]
        if unseen:
            others = _other_names(dataset)
            hint = f' of {others}, which its annotations have' if others else ''
            print(f'{key} has no object of {unseen}; if it should, check the spelling{hint}', file=sys.stderr)
    return dataset


def _other_names(dataset: Dataset) -> List[str]:
    """Names of objects that VOC's data sets pass over in silence."""
    if not isinstance(dataset, BaseDataset) or not _reads_as(dataset, XMLDataset):
        return []
    names = {name for name, _ in annotations.of_xml(_xml_files(dataset))}
    return sorted(names - set(dataset.metainfo['classes']))


def _first_leaf(dataset: Dataset) -> Dataset:
    while hasattr(dataset, 'dataset') or hasattr(dataset, 'datasets'):
        dataset = dataset.dataset if hasattr(dataset, 'dataset') else dataset.datasets[0]
    return dataset


def _build(cfg: dict, key: str, objects: Counter) -> Dataset:
    parts = {f'{key}.dataset': cfg['dataset']} if 'dataset' in cfg else {}
    parts.update({f'{key}.datasets[{i}]': part for i, part in enumerate(cfg.get('datasets', ()))})
    for part_key, part in parts.items():
        _build(part, part_key, objects)
    if parts:
        return DATASETS.build(cfg)
    kind = DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if kind is None or not issubclass(kind, BaseDataset):
        return DATASETS.build(cfg)
    dataset = DATASETS.build(dict(cfg, lazy_init=True))
    _check_classes(dataset, key)
    infos = _load(dataset, key)
    objects.update(_check_objects(dataset, infos, key))
    _check_images(dataset, infos, key)
    dataset.load_data_list = lambda: infos  # once is enough
    try:
        dataset.full_init()
    except ValueError as error:
        if 'concatenate' not in str(error):
            raise
        # MMEngine's data sets fail on an empty list
        raise ValueError(
            f'{key}.filter_cfg={dataset.filter_cfg} leaves none of {len(infos)} images; make min_size smaller'
        ) from error
    dataset[0]  # its pipeline works
    return dataset


def _check_classes(dataset: BaseDataset, key: str) -> None:
    classes = dataset.metainfo.get('classes')
    if isinstance(classes, str):
        raise ValueError(f"{key}.metainfo.classes='{classes}' is no tuple; write classes=('{classes}',)")


def _load(dataset: BaseDataset, key: str) -> List[dict]:
    """What the annotations say of every image, before any is filtered out."""
    try:
        infos = dataset.load_data_list()
    except Exception as error:
        raise ValueError(f'{key}: {_broken_annotations(dataset) or _one_line(dataset, error)}') from error
    if not infos:
        raise ValueError(f'{key}.ann_file={dataset.ann_file} lists no images')
    return infos


def _one_line(dataset: BaseDataset, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        file = error.filename or error
        return f'{file} is not there; check data_root, ann_file, data_prefix or what sets them'
    text = ' '.join(str(error).split())
    return f'{dataset.ann_file} cannot be read ({type(error).__name__}: {text}); mend it'


def _reads_as(dataset: BaseDataset, kind: type) -> bool:
    """Whether its files are VOC's or COCO's as they are, unlike those of some data sets that inherit from these."""
    return isinstance(dataset, kind) and type(dataset).load_data_list is kind.load_data_list


def _broken_annotations(dataset: BaseDataset) -> Optional[str]:
    if _reads_as(dataset, XMLDataset) and Path(dataset.ann_file).is_file():
        fault = annotations.list_fault(Path(dataset.ann_file))
        if fault:
            return f'{dataset.ann_file} {fault}'
        for path in _xml_files(dataset):
            fault = annotations.xml_fault(path)
            if fault:
                return f'{path} {fault}; mend it, or take it out of {dataset.ann_file}'
    if _reads_as(dataset, CocoDataset) and Path(dataset.ann_file).is_file():
        fault = annotations.coco_fault(Path(dataset.ann_file))
        return fault and f'{dataset.ann_file} {fault}'
    return None


def _xml_files(dataset: XMLDataset) -> Iterator[Path]:
    for name in list_from_file(dataset.ann_file):
        yield Path(dataset.sub_data_root, dataset.ann_subdir, f'{name}.xml')


def _check_objects(dataset: BaseDataset, infos: List[dict], key: str) -> Dict[str, int]:
    """How many objects there are of each class, without ignored ones and those whose box has no area."""
    classes = dataset.metainfo.get('classes') or ()
    counts: Counter = Counter()
    for info in infos:
        for instance in info.get('instances', ()):
            x1, y1, x2, y2 = instance['bbox']
            # boxes in fractions of the image may be rounded to one pixel in its corner
            if not instance.get('ignore_flag') and x2 > x1 and y2 > y1 and max(x2, y2) > 2:
                counts[instance['bbox_label']] += 1
    if len(counts) < len(classes):
        wrong = _explain_missing(dataset, classes, any_found=bool(counts))
        if wrong:
            raise ValueError(f'{key}: {wrong}')
    return {classes[label]: count for label, count in counts.items() if label < len(classes)}


def _explain_missing(dataset: BaseDataset, classes: Tuple[str, ...], any_found: bool) -> Optional[str]:
    """Why there are no objects of a class, or None: there may be none."""
    if _reads_as(dataset, XMLDataset):
        if any_found:
            return None
        files = list(_xml_files(dataset))
        where, found = str(files[0].parent), annotations.of_xml(files)
        known = {name for name, _ in found}
    elif _reads_as(dataset, CocoDataset):
        where = dataset.ann_file
        content = json.loads(Path(where).read_text(encoding='utf-8'))
        known, found = annotations.of_coco(content)
        unknown = [name for name in classes if name not in known]
        if unknown:
            # MMDetection numbers the classes that are left, so that labels of the others are wrong, too
            return (
                f'metainfo.classes has {unknown}, which is none of the categories in {where}: {sorted(known)}; write '
                'the names as they stand there'
            )
        if any_found:
            return None
        fault = annotations.image_ids_fault(content)
        if fault:
            return f'{where} has no object to use: {fault}'
    else:
        return None
    if not found:
        return None  # none at all
    unknown = [name for name in classes if name not in known]
    if len(unknown) == len(classes):
        return (
            f'metainfo.classes={tuple(classes)}, and the objects in {where} are called {sorted(known)}; write the '
            'names as they stand there'
        )
    fault = annotations.boxes_fault([box for name, box in found if name in classes])
    return f'{where} has no object to use of classes={tuple(classes)}: {fault}' if fault else None


def _check_images(dataset: BaseDataset, infos: List[dict], key: str) -> None:
    """All of them are there and can be read."""
    infos_of = {info['img_path']: info for info in infos if isinstance(info.get('img_path'), str)}
    paths = list(infos_of)
    if getattr(dataset, 'backend_args', None) or any('://' in path for path in paths[:1]):
        return  # on a remote storage
    with ThreadPoolExecutor(4) as threads:
        suspected = [path for path, whole in zip(paths, threads.map(_looks_whole, paths)) if not whole]
    missing = [path for path in suspected if not Path(path).is_file()]
    broken = [path for path in suspected if path not in missing and not _is_read(dataset, infos_of[path])]
    for wrong, what in ((missing, 'is not there'), (broken, 'cannot be read as an image')):
        if wrong:
            more = f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''
            raise ValueError(f'{key}: {wrong[0]} {what}{more}; {_remedy(dataset, Path(wrong[0]), bool(missing))}')


def _remedy(dataset: BaseDataset, path: Path, is_missing: bool) -> str:
    if not is_missing:
        return f'replace it, or take it out of {dataset.ann_file}'
    others = sorted(other.name for other in path.parent.glob(f'{path.stem}.*'))
    if others and isinstance(dataset, XMLDataset):
        return f'{others[0]} is, but {type(dataset).__name__} reads .jpg alone: convert the images'
    return 'check data_root, ann_file, data_prefix or what sets them'


def _looks_whole(path: str) -> bool:
    """Look at an image's header, a PNG's checksums and a JPEG's end, which takes a tenth of decoding it."""
    try:
        with Image.open(path) as image:
            image.verify()
        with open(path, 'rb') as file:
            file.seek(-2, 2)
            return image.format != 'JPEG' or file.read() == b'\xff\xd9'
    except Exception:
        return False


def _is_read(dataset: BaseDataset, info: dict) -> bool:
    """Whether the first step of the pipeline, which loads the image, takes it."""
    try:
        return not dataset.pipeline.transforms or dataset.pipeline.transforms[0](dict(info)) is not None
    except Exception:
        return False
