"""Annotation files as they are written: why MMDetection cannot read one, or reads what was not meant."""

import json
import math
import os
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any, Iterable, List, Optional, Sequence, Tuple

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
COCO_KEYS = dict(
    images=('id', 'file_name', 'width', 'height'),
    annotations=('id', 'image_id', 'category_id', 'bbox', 'area'),
    categories=('id', 'name'),
)
# what is no name, in a line of a list of VOC's images
NO_NAME = {
    'is empty; delete it': lambda line: not line.strip(),
    'has spaces around the name; delete them': lambda line: line != line.strip(),
    'has an ending; write the name alone': lambda line: (
        Path(line).suffix.lower() in ('.jpg', '.jpeg', '.png', '.bmp', '.xml')
    ),
    'has a folder; write the name alone': lambda line: '/' in line or '\\' in line,
    'has more than a name; write the name alone': lambda line: len(line.split()) > 1,
}


def absence(path: Path) -> Optional[str]:
    """Why there is no such file, None if there is one."""
    if path.is_file():
        return None
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            broken = f'{"is" if place == path else f"is not there: {place} is"} a link to {os.readlink(place)}'
            return f'{broken}, which is not there'
    return 'is a folder' if path.is_dir() else 'is not there'


def namesakes(path: Path) -> List[str]:
    """Files beside it that differ from it in the ending or in upper and lower case."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return sorted(other.name for other in beside if other.stem.lower() == path.stem.lower() and other.is_file())


def text_fault(path: Path) -> Optional[str]:
    """Why a file is no text that MMDetection can read, with the remedy; None if it is."""
    try:
        text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError:
        return 'is not in UTF-8; save it in UTF-8'
    return 'begins with a byte order mark; save it in UTF-8 without one' if text.startswith('\ufeff') else None


def list_fault(lines: Iterable[Tuple[str, bool]]) -> Optional[str]:
    """Which line of a list is no name, with the remedy; None if each is.

    Args:
        lines (iterable[tuple[str, bool]]): Each line, and whether there is an annotation file of that name.
    """
    for number, (line, is_there) in enumerate(lines, start=1):
        for what, test in NO_NAME.items():
            if not is_there and test(line):
                return f'has no name in line {number} ({line!r}): it {what}'
    return None


def xml_fault(path: Path) -> Optional[str]:
    """What keeps MMDetection from reading a file in VOC's format, None if nothing does."""
    if missing := absence(path):
        others = namesakes(path)
        return f'{missing}; {others[0]} is, rename it' if others else missing
    if path.stat().st_size == 0:
        return 'is empty'
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, ValueError, LookupError) as error:
        return f'is no XML that Python can read ({error}); save it in UTF-8'
    size = root.find('size')
    for side in ('width', 'height') if size is not None else ():
        if not _is_int(size.findtext(side)):
            return f'has <{side}>{size.findtext(side) or ""}</{side}> in its size, which is no whole number of pixels'
    for number, item in enumerate(root.findall('object'), start=1):
        box, difficult = item.find('bndbox'), item.findtext('difficult')
        if item.find('name') is None:
            return f'has no name in object {number}'
        if box is None:
            return f'has no bndbox in object {number}'
        for corner in CORNERS:
            if not _is_number(box.findtext(corner)):
                return f'has <{corner}>{box.findtext(corner) or ""}</{corner}> in object {number}, which is no number'
        if difficult is not None and not _is_int(difficult):
            return f'has <difficult>{difficult}</difficult> in object {number}, which is not 0 or 1'
    return None


def has_size(path: Path) -> bool:
    """Whether a sound file in VOC's format says how large its image is."""
    return ET.parse(path).getroot().find('size') is not None


def _is_int(text: Optional[str]) -> bool:
    try:
        return text is not None and int(text) is not None
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    try:
        return value is not None and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def coco_fault(path: Path) -> Optional[str]:
    """What keeps MMDetection from reading a file in COCO's format, with the remedy; None if nothing does."""
    if fault := text_fault(path):
        return fault
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        return f'is no JSON ({error}); export it again'
    if not isinstance(content, dict):
        return f'is a {type(content).__name__}, not a dict of {", ".join(COCO_KEYS)}; export it in the format of COCO'
    for part, keys in COCO_KEYS.items():
        if part not in content:
            return f"has no '{part}'; export it in the format of COCO's instances"
        if not isinstance(content[part], list):
            return f'has {part}={content[part]}, which is no list; export it again'
        for item in content[part]:
            if fault := _item_fault(part, keys, item):
                return fault
    if twice := repeated(item['id'] for item in content['annotations']):
        return f'has annotations with the same id ({twice[0]!r}, say); give each an id of its own'
    return coco_meaning_fault(content)


def _item_fault(part: str, keys: Sequence[str], item: Any) -> Optional[str]:
    if not isinstance(item, dict):
        return f'has {item!r} in {part}, which is no dict; export it again'
    which = f'in {part}, id {item.get("id", item)}'
    if lacking := [key for key in keys if key not in item]:
        hint = ', width * height of the bbox in pixels' if lacking[0] == 'area' else ''
        return f"has no '{lacking[0]}' {which}; add it{hint}"
    if part == 'annotations':
        box = item['bbox']
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_plain_number, box)):
            return f'has bbox={box} {which}; write [x, y, width, height] in pixels'
    for key in ('area', 'width', 'height'):
        if key in keys and not _is_plain_number(item[key]):
            return f'has {key}={item[key]!r} {which}; write a number'
    return None


def _is_plain_number(value: Any) -> bool:
    return _is_number(value) and not isinstance(value, str)


def coco_meaning_fault(content: dict) -> Optional[str]:
    """What MMDetection reads otherwise than it was meant in a file in COCO's format, with the remedy; None if nothing.

    Images with one id are one image to it, text is never a category's number, and the text '0' means yes.
    """
    if twice := repeated(image['id'] for image in content['images']):
        return f'has several images of id {twice[0]!r}; give each an id of its own, and its annotations too'
    if twice := repeated(category['id'] for category in content['categories']):
        return f'has several categories of id {twice[0]!r}; give each an id of its own, and its annotations too'
    known = {category['id'] for category in content['categories']}
    as_text = {str(number): number for number in known}
    for item in content.get('annotations', ()):
        which, number = f'in annotations, id {item.get("id")}', item.get('category_id')
        if number not in known and str(number) in as_text:
            return f'has category_id={number!r} {which}; write it as categories do: {as_text[str(number)]!r}'
        for key in ('iscrowd', 'ignore'):
            if isinstance(item.get(key), str):
                return f"has {key}={item[key]!r} {which}, which is text and means 1, also if it is '0'; write 0 or 1"
    return None


def category_fault(content: dict, classes: Sequence[str]) -> Optional[str]:
    """Why the categories of a file in COCO's format get other labels than was meant, with the remedy."""
    if twice := [name for name in repeated(item['name'] for item in content['categories']) if name in classes]:
        ids = [item['id'] for item in content['categories'] if item['name'] in twice]
        return (
            f'has several categories called {", ".join(map(repr, twice))} (ids {ids}), and each gets a label of its '
            'own; delete those that have no objects, or give all objects of a name one category_id'
        )
    return None


def image_ids_fault(content: dict) -> Optional[str]:
    """Whether no annotation of a sound file in COCO's format is of an image in it, with the remedy."""
    ids = [item['id'] for item in content['images']]
    others = [item['image_id'] for item in content['annotations']]
    if not ids or not others or set(ids) & set(others):
        return None
    return f'no image_id of an annotation ({others[0]!r}, say) is the id of an image ({ids[0]!r}, say); make them equal'


def repeated(values: Iterable) -> list:
    """The values that occur more than once."""
    return [value for value, count in Counter(values).items() if count > 1]
