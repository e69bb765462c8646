"""Objects as annotation files in VOC's and COCO's format have them, and what keeps MMDetection from reading a file."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Callable, Iterator, List, Sequence, Tuple

import cv2
import numpy as np
import pandas as pd
from mmdet.datasets import CocoDataset, XMLDataset
from mmengine.dataset import BaseDataset
from mmengine.fileio import get_local_path, list_from_file

from .explain import named
from .image_check import image_size, is_local
from .objects import BOX


def read_objects(dataset: BaseDataset) -> Tuple[pd.DataFrame, Tuple[str, ...]]:
    """Read the objects of a data set that is built with ``lazy_init``, and the class of each label.

    Each row is an object: its box ``x1, y1, x2, y2`` and ``area`` in pixels, ``width`` and ``height`` of its image
    (NaN: it is not listed; infinite: they do not matter), the ``name`` of its class, whether it ``is_ignored``, and its
    ``place`` in words. There are none if the files are of another format, or remote XML. A ValueError tells what
    MMDetection could not read, or would take for something else than was meant.
    """
    classes = tuple(dataset.metainfo.get('classes') or ())
    if _reads_as(dataset, CocoDataset):
        return _read_coco(dataset, classes)
    is_voc = _reads_as(dataset, XMLDataset) and is_local(dataset.ann_file, dataset.backend_args)
    columns = [*BOX, 'width', 'height', 'name', 'is_ignored', 'place']
    found = pd.DataFrame([*_voc_files(dataset, classes)] if is_voc else [], columns=columns)
    found = found.astype(dict.fromkeys([*BOX, 'width', 'height'], float))
    return found.assign(area=(found.x2 - found.x1) * (found.y2 - found.y1)), classes


def _reads_as(dataset: BaseDataset, kind: type) -> bool:
    """Whether its files are VOC's or COCO's as they are, unlike those of some data sets that inherit from these."""
    reading = ('load_data_list', 'parse_data_info')
    return isinstance(dataset, kind) and all(getattr(type(dataset), name) is getattr(kind, name) for name in reading)


def _voc_files(dataset: XMLDataset, classes: Sequence[str]) -> Iterator[tuple]:
    with named(f'ann_file {dataset.ann_file}, which has to be in UTF-8'):
        names = list_from_file(dataset.ann_file, backend_args=dataset.backend_args)
    for line, name in enumerate(names, start=1):
        path = Path(dataset.sub_data_root, dataset.ann_subdir, f'{name}.xml')
        with named(
            f'{path} cannot be read; mend it, save it in UTF-8, or mend line {line} of {dataset.ann_file}, {name!r}, '
            'which has to be the name of an image without folder, ending or spaces'
        ):
            yield from _voc_objects(path, Path(dataset.sub_data_root, dataset.img_subdir, f'{name}.jpg'), classes)


def _voc_objects(path: Path, image: Path, classes: Sequence[str]) -> Iterator[tuple]:
    """As MMDetection reads them: of an object of none of the classes the name alone."""
    root = ET.parse(path).getroot()
    width = height = math.inf  # where they are 0 or not there, MMDetection takes the boxes as they are
    if root.find('size') is not None:
        width, height = (_number(root, f'size/{side}', int) or math.inf for side in ('width', 'height'))
    elif image.exists() and image_size(str(image)) is None and cv2.imread(str(image)) is None:
        raise ValueError(f'it has no size, and {image} cannot be read as an image')
    for number, item in enumerate(root.findall('object'), start=1):
        with named(f'object {number}'):
            if item.find('name') is None:
                raise ValueError('it has no <name>')
            name, box, is_ignored = item.find('name').text, [0, 0, 0, 0], False
            if name in classes:
                box = [_number(item, f'bndbox/{corner}', float) - 1 for corner in ('xmin', 'ymin', 'xmax', 'ymax')]
                is_ignored = item.find('difficult') is not None and _number(item, 'difficult', int) != 0
        yield (*box, width, height, name, is_ignored, f'object {number} of {path}')


def _number(item: ET.Element, tag: str, kind: Callable[[str], float]) -> int:
    text = item.findtext(tag)
    try:
        return int(kind(text))
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f'<{tag}> is {text!r}, which is no whole number') from None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


# what MMDetection reads: a test of each value, and what to write
PIXELS, GIVEN = (_is_number, 'a number of pixels'), (pd.notna, 'one')
ANY = (lambda value: True, '')  # null is an object of no class or image, which MMDetection passes over
FLAG = (lambda value: not isinstance(value, str), '0 or 1 as a number; a text always means 1')
COCO = {
    'images': dict(file_name=(lambda name: isinstance(name, str), 'its path'), width=PIXELS, height=PIXELS),
    'categories': dict(name=GIVEN),
    'annotations': dict(
        bbox=(lambda box: isinstance(box, list) and [*map(_is_number, box)] == [True] * 4, '[x, y, width, height]'),
        area=(_is_number, 'width * height of the bbox in pixels, as a number'),
        **dict(image_id=ANY, category_id=ANY, iscrowd=FLAG, ignore=FLAG),
    ),
}


def _read_coco(dataset: CocoDataset, classes: Sequence[str]) -> Tuple[pd.DataFrame, Tuple[str, ...]]:
    if 'img' not in dataset.data_prefix:
        raise ValueError(f"data_prefix={dataset.data_prefix} has no 'img'; write data_prefix=dict(img='train/'), say")
    with named(f"ann_file {dataset.ann_file}, which has to be in COCO's format and UTF-8"):
        with get_local_path(dataset.ann_file, backend_args=dataset.backend_args) as path:
            coco = dataset.COCOAPI(path)
        dataset.COCOAPI = lambda path: coco  # so that it is read once
        content = {'annotations': [], **coco.dataset}  # a list of images without objects has none
        images, categories, objects = (_coco_part(content, part) for part in COCO)
        _check_ids(objects.image_id, images, 'images')
        _check_ids(objects.category_id, categories, 'categories')
        _check_categories(list(categories['name']), classes)
    boxes = np.array([*objects.bbox], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    found = pd.DataFrame(boxes, objects.index, BOX)
    found['name'] = objects.category_id.map(categories['name']).fillna('category_id ' + objects.category_id.astype(str))
    found['width'], found['height'] = objects.image_id.map(images.width), objects.image_id.map(images.height)
    found['is_ignored'] = objects[['iscrowd', 'ignore']].astype(float).fillna(0).any(axis=1)
    found['area'] = objects.area.astype(float)
    found['place'] = [f'object {number} of {dataset.ann_file}' for number in objects.index]
    return found, tuple(categories['name'][number] for number in coco.get_cat_ids(classes))


def _coco_part(content: dict, part: str) -> pd.DataFrame:
    with named(f'{part}, each with an id of its own'):
        frame = pd.DataFrame(content[part], columns=['id', *COCO[part]]).set_index('id', verify_integrity=True)
    for key, (is_right, remedy) in COCO[part].items():
        for number, value in frame[key][~frame[key].map(is_right).astype(bool)].items():
            raise ValueError(f'{key}={value!r} in {part}, id {number}; write {remedy}')
    return frame


def _check_ids(numbers: pd.Series, others: pd.DataFrame, part: str) -> None:
    for number in numbers[~numbers.isin(others.index) & numbers.astype(str).isin(others.index.astype(str))]:
        raise ValueError(f'{numbers.name}={number!r}, and {part} have it as {others.index.dtype}; write both alike')


def _check_categories(known: List[str], classes: Sequence[str]) -> None:
    if unknown := [name for name in classes if name not in known]:
        # MMDetection numbers the classes that are left, so that labels of the others are wrong, too
        raise ValueError(
            f'metainfo.classes has {unknown}, and categories are {known}; write the names as they are there'
        )
    for name in classes:
        if known.count(name) > 1:
            raise ValueError(f'several categories called {name!r}, each with a label; keep one, with all their objects')
