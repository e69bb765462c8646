"""Why MMDetection passes over objects, or takes them for something else than was meant."""

from difflib import get_close_matches
from typing import Iterator, Sequence

import numpy as np
import pandas as pd

BOX = ['x1', 'y1', 'x2', 'y2']
# where such a share is impossible, all are written in another way, which then fits such a share
MANY, MOST = 0.2, 0.95
IGNORED = 'are ignored (difficult, crowd); if they should count, write 0'
NO_SIDES = 'have a box without a width and a height; write pixels, VOC as corners, COCO as [x, y, width, height]'
SOUND = 'are smaller than a pixel or than filter_cfg allows; write pixels, or change filter_cfg'


def find_faults(objects: pd.DataFrame) -> pd.Series:
    """Why each of some objects is none to MMDetection, or may be a broken one, with the remedy: what is true first."""
    far, size = objects[BOX].abs().max(axis=1), objects[['width', 'height']].min(axis=1)
    faults = {
        'are of an image that is not listed; write the id of an image as image_id': objects.width.isna(),
        "are of an image with a width or height of 0; write the image's size": size <= 0,
        'have a box in fractions of the image; write pixels': far <= 2,
        NO_SIDES: (objects.x2 <= objects.x1) | (objects.y2 <= objects.y1),
        "have a box whose 'area' is 0; write width * height of the bbox in pixels": objects.area <= 0,
        'have a box outside of its image; mend the box, or the size of the image': (
            (objects[['x2', 'y2']].min(axis=1) <= 0) | (objects.x1 >= objects.width) | (objects.y1 >= objects.height)
        ),
        IGNORED: objects.is_ignored.astype(bool),
        'have a box that reaches beyond its image; mend the box, or the size of the image': _reach_beyond(objects),
    }
    return pd.Series(np.select([*faults.values()], [*faults], SOUND), objects.index)


def _reach_beyond(objects: pd.DataFrame) -> pd.Series:
    """By more than rounding does."""
    before = objects[['x1', 'y1']].min(axis=1) < -2
    return before | (objects.x2 > objects.width + 2) | (objects.y2 > objects.height + 2)


def tell_faults(objects: pd.DataFrame, untold: Sequence[str] = ()) -> Iterator[str]:
    """What is wrong with some objects, the most frequent first, with the remedies."""
    faults = find_faults(objects)
    for fault, count in faults.value_counts().items():
        if fault not in untold:
            yield f'{count} of {len(objects)} objects (first: {objects.place[faults == fault].iloc[0]}) {fault}'


def check_boxes(objects: pd.DataFrame, is_voc: bool) -> Iterator[str]:
    """Yield faults of some objects beside sound ones; raise a ValueError if boxes are written in another way."""
    wrong = objects[find_faults(objects) == NO_SIDES]
    if is_voc and len(wrong) >= MANY * max(1, len(objects)):  # COCO's, MMDetection passes over
        raise ValueError(f'{len(objects)} objects, of which {next(tell_faults(wrong))}')
    listed = objects[objects[['width', 'height']].min(axis=1) > 0]
    width, height = listed.x2 - listed.x1, listed.y2 - listed.y1
    fit_as_corners = listed[['x1', 'y1']].min(axis=1).ge(0) & width.gt(listed.x1) & height.gt(listed.y1)
    fit_as_corners &= width.le(listed.width + 2) & height.le(listed.height + 2)
    area, beyond = (width - listed.x1) * (height - listed.y1), _reach_beyond(listed)
    is_area_of_corners = np.isclose(listed.area, area, rtol=0.01) & ~np.isclose(listed.area, width * height, rtol=0.01)
    if not is_voc and fit_as_corners.mean() >= MOST and (beyond.mean() >= MANY or is_area_of_corners.mean() >= MOST):
        raise ValueError(
            f'the boxes are corners (first: {listed.place.iloc[0]}): they fit as such, and {beyond.sum()} of '
            f'{len(listed)} reach beyond their image as they are; write [x, y, width, height] in pixels'
        )
    yield from tell_faults(objects, (IGNORED, SOUND))


def other_names(objects: pd.DataFrame, classes: Sequence[str]) -> Iterator[str]:
    """Names of objects that MMDetection passes over, because they are none of the classes."""
    others = objects[~objects.name.isin(classes)]
    if len(others):
        counts = others.name.value_counts(dropna=False).head(8).to_dict()
        known = {str(name).lower(): name for name in classes}
        likes = {name: get_close_matches(str(name).strip().lower(), known, 1, 0.75) for name in counts}
        hints = ''.join(f', {name!r} like {known[like]!r}' for name in counts for like in likes[name])
        yield (
            f'{len(others)} of {len(objects)} objects (first: {others.place.iloc[0]}) are of none of the classes, and '
            f'background to a training: {counts}{hints}; if they are objects, write the names of their classes there'
        )
