"""Objects as annotation files have them, and why MMDetection passes over some."""

import difflib
import math
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from .annotations import CORNERS

# where such a share of the boxes is impossible, all are written in another way, which then fits such a share
MANY, MOST = 0.2, 0.95


class Written(NamedTuple):
    """An object in a file."""

    name: Optional[str]
    box: Tuple[float, float, float, float]  # x1, y1, x2, y2
    area: float
    is_ignored: bool
    image: Optional[Tuple[float, float]]  # width and height, as far as they matter; None: it is not listed
    where: str


def of_xml(files: Iterable[Path], classes: Sequence[str]) -> List[Written]:
    """The objects of files in VOC's format that MMDetection could read. Of one of no class it reads the name alone."""
    found = []
    for path in files:
        root = ET.parse(path).getroot()
        # where a size is 0 or not there, MMDetection takes the boxes as they are
        size = tuple(int(root.findtext(f'size/{side}') or 0) or math.inf for side in ('width', 'height'))
        for item in root.findall('object'):
            name, box, is_ignored = item.findtext('name'), (0.0, 0.0, 0.0, 0.0), False
            if name in classes:
                box = tuple(float(item.findtext(f'bndbox/{corner}')) - 1 for corner in CORNERS)
                is_ignored = int(item.findtext('difficult') or 0) != 0
            area = (box[2] - box[0]) * (box[3] - box[1])
            found.append(Written(name, box, area, is_ignored, size, str(path)))
    return found


def of_coco(content: dict, path: str) -> List[Written]:
    """The objects of a file in COCO's format that MMDetection could read."""
    names = {category['id']: category.get('name') for category in content['categories']}
    sizes = {image['id']: (image['width'], image['height']) for image in content['images']}
    found = []
    for item in content.get('annotations', ()):
        x, y, width, height = item.get('bbox') or (0, 0, 0, 0)
        found.append(
            Written(
                names.get(item['category_id']),
                (x, y, x + width, y + height),
                item.get('area', 0),
                bool(item.get('iscrowd') or item.get('ignore')),
                sizes.get(item['image_id']),
                f'id {item.get("id")} in {path}',
            )
        )
    return found


def has_no_sides(item: Written) -> bool:
    return item.box[2] <= item.box[0] or item.box[3] <= item.box[1]


def is_outside(item: Written) -> bool:
    x1, y1, x2, y2 = item.box
    width, height = item.image
    return x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height


def reaches_beyond(item: Written) -> bool:
    """By more than rounding does."""
    x1, y1, x2, y2 = item.box
    width, height = item.image
    return min(x1, y1) < -2 or x2 > width + 2 or y2 > height + 2


# why an object is none to MMDetection, or may be a broken one: the first that is true. With what to do
FAULTS: Dict[str, Tuple[Callable[[Written], bool], str]] = {
    'is of an image that is not listed': (lambda item: item.image is None, 'write the id of an image as image_id'),
    'is of an image with a width or height of 0': (lambda item: min(item.image) <= 0, "write the image's size"),
    'has a box in fractions of the image': (lambda item: max(map(abs, item.box)) <= 2, 'write pixels'),
    'has a box without a width and a height': (
        has_no_sides,
        'write pixels, VOC as corners, COCO as [x, y, width, height]',
    ),
    "has a box whose 'area' is 0": (lambda item: item.area <= 0, 'write width * height of the bbox in pixels'),
    'has a box outside of its image': (is_outside, 'mend the box, or the width and height of the image'),
    'is ignored (difficult, crowd)': (lambda item: item.is_ignored, 'if it should count, write 0'),
    'has a box that reaches beyond its image': (reaches_beyond, 'mend the box, or the width and height of the image'),
    'is smaller than a pixel or than filter_cfg allows': (lambda item: True, 'write pixels, or change filter_cfg'),
}
# of others than those that are no object: a sound object comes to the last, too
MENTIONED = [what for what in FAULTS if not what.startswith('is ignored')][:-1]


def fault_of(item: Written) -> str:
    return next(what for what, (test, _) in FAULTS.items() if test(item))


def why_none(items: Sequence[Written]) -> str:
    """Why not one of some objects is an object to MMDetection, by what is true of most, with the remedy."""
    (said, *_) = _told(items, [*FAULTS])
    return said


def broken(items: Sequence[Written]) -> List[str]:
    """Faults of some objects beside sound ones, with the remedies."""
    return _told(items, MENTIONED)


def _told(items: Sequence[Written], faults: Sequence[str]) -> List[str]:
    found = [fault_of(item) for item in items]
    return [
        f'each of {count}{f" of {len(items)}" if count < len(items) else ""} objects {what} '
        f'(first: {items[found.index(what)].where}); {FAULTS[what][1]}'
        for what, count in Counter(found).most_common()
        if what in faults
    ]


def not_corners_fault(items: Sequence[Written]) -> Optional[str]:
    """Whether the boxes of files in VOC's format are no corners."""
    wrong = [item for item in items if has_no_sides(item)]
    if len(wrong) < MANY * len(items) or not wrong:
        return None
    return (
        f'{len(wrong)} of {len(items)} boxes have no width and a height (first: {wrong[0].where}), as if they were '
        'not written as corners; write xmin, ymin, xmax, ymax in pixels'
    )


def corners_fault(items: Sequence[Written]) -> Optional[str]:
    """Whether the boxes of a file in COCO's format are corners, and not x, y, width and height."""
    listed = [item for item in items if item.image and min(item.image) > 0]
    if not listed or sum(map(_may_be_corners, listed)) < MOST * len(listed):
        return None
    beyond, areas = sum(map(reaches_beyond, listed)), sum(map(_has_area_of_corners, listed))
    if beyond < MANY * len(listed) and areas < MOST * len(listed):
        return None
    return (
        f'the boxes are corners: they fit as such, and {beyond} of {len(listed)} reach beyond their image as they are; '
        'write [x, y, width, height] in pixels'
    )


def _may_be_corners(item: Written) -> bool:
    x1, y1, x2, y2 = item.box
    return 0 <= x1 < x2 - x1 <= item.image[0] + 2 and 0 <= y1 < y2 - y1 <= item.image[1] + 2


def _has_area_of_corners(item: Written) -> bool:
    x1, y1, x2, y2 = item.box
    as_corners, as_is = (x2 - 2 * x1) * (y2 - 2 * y1), (x2 - x1) * (y2 - y1)
    return math.isclose(item.area, as_corners, rel_tol=0.01) and not math.isclose(item.area, as_is, rel_tol=0.01)


def other_names(items: Sequence[Written], classes: Sequence[str]) -> Optional[str]:
    """Names of objects that MMDetection passes over, because they are none of the classes."""
    others = [item for item in items if item.name not in classes]
    if not others:
        return None
    alike = {str(name).strip().lower(): name for name in classes}
    said = []
    for name, count in Counter(item.name for item in others).most_common(8):
        like = difflib.get_close_matches(str(name).strip().lower(), alike, n=1, cutoff=0.75)
        said.append(f'{name!r} ({count}{f", like {alike[like[0]]!r}" if like else ""})')
    more = len({item.name for item in others}) - len(said)
    names = ', '.join(said) + (f' and {more} names more' if more else '')
    return (
        f'{len(others)} of {len(items)} objects are of none of the classes, and background to a training: {names} '
        f'(first: {others[0].where}); if they are objects, write the names of their classes there'
    )
