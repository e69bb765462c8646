"""Why proposals that came through a test pipeline cannot be compared with objects in the original image."""

from typing import Any, Callable, Dict, List, NamedTuple, Optional

import numpy as np
from mmcv.transforms import CenterCrop, RandomFlip
from mmdet.datasets import transforms
from mmdet.datasets.transforms.geometric import GeomTransform

# Resize and Pad leave what is in an image in its place. These do not, and a sample does not tell.
MOVING = (
    CenterCrop, GeomTransform, transforms.CachedMixUp, transforms.CachedMosaic, transforms.Expand,
    transforms.MinIoURandomCrop, transforms.RandomAffine, transforms.RandomCenterCropPad, transforms.RandomCrop,
    transforms.RandomShift,
)  # fmt: skip


class Passed(NamedTuple):
    """A sample that has passed through a test pipeline."""

    sample: dict  # with its metainfo
    transforms: list  # of the pipeline, among others
    merged_views: bool  # whether its proposals are merged from several views, and flipped back
    annotated: Optional[np.ndarray]  # its objects in pixels of the original image, (G, 4), where known
    packed: Optional[np.ndarray]  # its objects as the pipeline packed them, (P, 4), where it did


def transforms_of(dataset: Any) -> List[Any]:
    """A data set, those that it wraps, and all of their transforms, also within others such as ``RandomChoice``."""
    found = [dataset]
    for part in found:  # which grows
        names = ('pipeline', 'dataset', 'datasets', 'transforms', 'subroutines')
        inner = part if isinstance(part, (list, tuple)) else [getattr(part, name, None) for name in names]
        found += [other for other in inner if not any(other is known for known in found)]
    return found


def _flips(way: Passed) -> bool:
    may_flip = any(isinstance(transform, RandomFlip) for transform in way.transforms)
    return way.sample.get('flip', may_flip) and not way.merged_views


def _moves(way: Passed) -> str:
    # RandomCenterCropPad in test mode pads, and tells the head by how much
    moving = [t for t in way.transforms if isinstance(t, MOVING) and not getattr(t, 'test_mode', False)]
    return ', '.join(type(transform).__name__ for transform in moving)


def _is_smaller(way: Passed) -> str:
    """Than resizing made it. Pad makes it larger."""
    if not {'ori_shape', 'img_shape', 'scale_factor'} <= way.sample.keys():
        return ''
    before, after, scale_factor = (way.sample[key] for key in ('ori_shape', 'img_shape', 'scale_factor'))
    if (after[:2] >= np.array(before[:2]) * np.broadcast_to(scale_factor, 2)[::-1] - 1).all():
        return ''
    words = f'img_shape={after[:2]} is smaller than ori_shape={before[:2]} times scale_factor={scale_factor}'
    return f'{words}, as after a crop or a second Resize'


def _pixels_are_unknown(way: Passed) -> bool:
    is_as_loaded = not way.merged_views and np.allclose(way.sample.get('scale_factor', 1), 1)
    return way.annotated is None and way.packed is not None and not is_as_loaded


def _objects_are_elsewhere(way: Passed) -> bool:
    """Unless they are packed as they are or as resized, maybe without some of them."""
    if way.annotated is None or way.packed is None:
        return False
    if way.merged_views or len(way.packed) != len(way.annotated):
        return len(way.packed) > len(way.annotated)
    scale = np.tile(way.sample.get('scale_factor', (1, 1)), 2)
    candidates = [way.annotated, way.annotated * scale]
    if 'ori_shape' in way.sample:  # Resize clips boxes to the image
        height, width = way.sample['ori_shape'][:2]
        candidates.append(candidates[1].clip(0, scale * (width, height, width, height)))
    return not any(np.allclose(way.packed, candidate, rtol=1e-4, atol=0.01) for candidate in candidates)


UNKNOWN_PLACE = 'so it is not known where proposals are in the original image; take that transform out'
CROPS = f'the test pipeline crops or moves it ({{}}), {UNKNOWN_PLACE}'
# Tests, and what is said where one finds something, which stands in the place of the braces. The first is told.
NOT_COMPARABLE: Dict[Callable, str] = {
    _flips: 'the test pipeline flips it, and its proposals are not flipped back; take RandomFlip out, or test '
    'with --tta',
    _moves: CROPS,
    _is_smaller: CROPS,
    _pixels_are_unknown: 'it was flipped or resized, its data set gives no annotations (get_data_info), and a sample '
    "does not tell whether its ground truth was loaded before or after; put 'instances' into the meta_keys of "
    'PackDetInputs in the test pipeline',
    _objects_are_elsewhere: 'the test pipeline moves ground truth in another way than Resize does (RandomFlip, a crop, '
    f'boxes of its own), {UNKNOWN_PLACE}',
}
