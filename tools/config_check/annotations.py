"""Annotation files as they are written, read where MMDetection could not make objects of them."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Iterable, List, Optional, Set, Tuple

Box = Tuple[float, float, float, float, float]  # x1, y1, x2, y2, area
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
COCO_KEYS = dict(
    images=('id', 'file_name', 'width', 'height'),
    annotations=('id', 'image_id', 'category_id', 'bbox', 'area'),
    categories=('id', 'name'),
)


def list_fault(path: Path) -> Optional[str]:
    """What keeps MMDetection from finding the images of a list, with the remedy; None if nothing in the file does."""
    try:
        text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError:
        return 'is not in UTF-8; save it in UTF-8'
    return 'begins with a byte order mark; save it in UTF-8 without one' if text.startswith('\ufeff') else None


def xml_fault(path: Path) -> Optional[str]:
    """What keeps MMDetection from reading a file in VOC's format, None if nothing does."""
    if not path.is_file():
        return 'is not there'
    if path.stat().st_size == 0:
        return 'is empty'
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        return f'is no XML ({error})'
    size = root.find('size')
    for side in ('width', 'height') if size is not None else ():
        text = size.findtext(side)
        if text is None or not text.strip().isdigit():
            return f'has <{side}>{text or ""}</{side}> in its size, which is no whole number of pixels'
    for number, item in enumerate(root.findall('object'), start=1):
        if not item.findtext('name'):
            return f'has no name in object {number}'
        box = item.find('bndbox')
        if box is None:
            return f'has no bndbox in object {number}'
        for corner in CORNERS:
            if not _is_number(box.findtext(corner)):
                return f'has <{corner}>{box.findtext(corner) or ""}</{corner}> in object {number}, which is no number'
        if not (item.findtext('difficult') or '0').strip().isdigit():
            return f'has <difficult>{item.findtext("difficult")}</difficult> in object {number}, which is not 0 or 1'
    return None


def _is_number(text: Optional[str]) -> bool:
    try:
        return text is not None and float(text) == float(text)
    except ValueError:
        return False


def of_xml(files: Iterable[Path]) -> List[Tuple[str, Box]]:
    """Name and box of every object in readable files in VOC's format."""
    found = []
    for path in files:
        for item in ET.parse(path).getroot().findall('object'):
            box = item.find('bndbox')
            if box is not None:
                x1, y1, x2, y2 = (float(box.findtext(corner)) for corner in CORNERS)
                found.append((item.findtext('name'), (x1, y1, x2, y2, (x2 - x1) * (y2 - y1))))
    return found


def coco_fault(path: Path) -> Optional[str]:
    """What keeps MMDetection from reading a file in COCO's format, with the remedy; None if nothing does."""
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
            lacking = [key for key in keys if key not in item]
            if lacking:
                which = item.get('id', item)
                return f"has no '{lacking[0]}' in {part}, id {which}; add it" + (
                    ', width * height of the bbox in pixels' if lacking[0] == 'area' else ''
                )
            if part == 'annotations' and (not isinstance(item['bbox'], list) or len(item['bbox']) != 4):
                return f'has bbox={item["bbox"]} in annotations, id {item["id"]}; write [x, y, width, height] in pixels'
    ids = [item['id'] for item in content['annotations']]
    if len(set(ids)) < len(ids):
        return 'has annotations with the same id; give each an id of its own'
    return None


def image_ids_fault(content: dict) -> Optional[str]:
    """Whether no annotation of a sound file in COCO's format is of an image in it, with the remedy."""
    ids = [item['id'] for item in content['images']]
    others = [item['image_id'] for item in content['annotations']]
    if not ids or not others or set(ids) & set(others):
        return None
    return f'no image_id of an annotation ({others[0]!r}, say) is the id of an image ({ids[0]!r}, say); make them equal'


def of_coco(content: dict) -> Tuple[Set[str], List[Tuple[str, Box]]]:
    """Names of the categories, and name and box of every annotation in a sound file in COCO's format."""
    names = {category['id']: category['name'] for category in content['categories']}
    found = []
    for item in content['annotations']:
        x, y, width, height = item['bbox']
        found.append((names.get(item['category_id'], ''), (x, y, x + width, y + height, item['area'])))
    return set(names.values()), found


def boxes_fault(boxes: List[Box]) -> Optional[str]:
    """Why none of an annotation's boxes is an object to MMDetection, as far as the boxes say."""
    if not boxes:
        return None
    if max(max(map(abs, box[:4])) for box in boxes) <= 2:
        return 'the boxes are fractions of the image, and have to be in pixels'
    if all(x2 <= x1 or y2 <= y1 for x1, y1, x2, y2, _ in boxes):
        return 'no box has a width and a height; write them in pixels, VOC as corners, COCO as [x, y, width, height]'
    if all(area <= 0 for *_, area in boxes):
        return "'area' is 0 in every annotation; write width * height of the bbox in pixels"
    return 'each is ignored (difficult, crowd), smaller than a pixel, outside its image, or its image is not listed'
