import inspect
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np
from mmcv.transforms import CenterCrop, RandomFlip
from mmdet.datasets import transforms
from mmdet.datasets.transforms.geometric import GeomTransform
from mmdet.structures.bbox import get_box_tensor
from mmengine.runner import BaseLoop
from torch.utils.data import Dataset

IN_META_KEYS = "put '{}' into the meta_keys of PackDetInputs in the test pipeline"
NOT_LOADED = (
    "no ground truth in the samples; put dict(type='LoadAnnotations', with_bbox=True) into the test pipeline, "
    'after Resize'
)
# Resize and Pad leave what is in an image in its place. These do not, and a sample does not tell.
MOVING = (
    CenterCrop,
    GeomTransform,
    transforms.CachedMixUp,
    transforms.CachedMosaic,
    transforms.Expand,
    transforms.MinIoURandomCrop,
    transforms.RandomAffine,
    transforms.RandomCenterCropPad,
    transforms.RandomCrop,
    transforms.RandomShift,
)


class GroundTruth:
    """Ground truth of test samples in pixels of the original image, where proposals are compared with it.

    What a test pipeline packs as ``gt_instances`` is in other pixels if it loads annotations before it resizes or
    flips, and a sample does not tell. So ground truth is taken from, in this order:

    1. the data set's own annotations (``instances`` of ``get_data_info``), which no pipeline has changed;
    2. ``instances`` in the sample's metainfo, as MMDetection's ``CocoMetric`` takes them;
    3. ``gt_instances``, if the sample was neither flipped nor resized.

    Args:
        dataset (Dataset, optional): The data set that the samples are from. Defaults to None: not known.

    Example:
        >>> ground_truth = GroundTruth(dataset)
        >>> bboxes, ignored_bboxes = ground_truth(dataset[0]['data_samples'].to_dict())
    """

    def __init__(self, dataset: Optional[Dataset] = None) -> None:
        self.dataset: Any = dataset
        self.is_annotated = _is_annotated(dataset)
        pipeline = list(_transforms(dataset))
        self.moving = ', '.join(type(transform).__name__ for transform in pipeline if _moves(transform))
        self.may_flip = any(isinstance(transform, RandomFlip) for transform in pipeline)
        self.indices: Dict[tuple, Dict[tuple, Optional[int]]] = {}

    def __call__(self, sample: dict, merged_views: bool = False) -> Tuple[np.ndarray, np.ndarray]:
        """Ground truth of one sample.

        Args:
            sample (dict): A ``DetDataSample`` as a dict, metainfo included.
            merged_views (bool): Whether its proposals are merged from several views of the image (test-time
                augmentation) and thus already flipped back. Defaults to False.

        Returns:
            tuple[np.ndarray, np.ndarray]: Boxes (x1, y1, x2, y2) in float64 of objects, (G, 4), and of ignored
            objects, (K, 4).

        Raises:
            ValueError: If the sample has no ground truth, or it is not known in which pixels it or the proposals are.
        """
        name = f'image {sample.get("img_path") or sample.get("img_id")}'
        if sample.get('flip', self.may_flip) and not merged_views:
            raise ValueError(
                f'{name}: the test pipeline flips it, and its proposals are not flipped back; take RandomFlip out, or '
                'test with --tta'
            )
        moving = self.moving or _crop(sample)
        if moving:
            raise ValueError(
                f'{name}: the test pipeline crops or moves it ({moving}), so it is not known where proposals are in '
                'the original image; take that transform out'
            )
        info = self._data_info(sample) or sample
        packed = _packed_bboxes(sample)
        if 'instances' not in info:
            if packed is None:
                raise ValueError(NOT_LOADED)
            if merged_views or not np.allclose(sample.get('scale_factor', 1), 1):
                raise ValueError(
                    f'{name}: it was flipped or resized, its data set gives no annotations (get_data_info), and a '
                    'sample does not tell whether its ground truth was loaded before or after; '
                    + IN_META_KEYS.format('instances')
                )
            return packed
        bboxes, ignored_bboxes = _annotated_bboxes(info['instances'])
        if packed is not None and not _same_objects(bboxes, packed[0], sample, merged_views):
            raise ValueError(
                f'{name}: the test pipeline moves ground truth in another way than Resize does (RandomFlip, a crop, '
                'boxes of its own), so it is not known where proposals are in the original image; take that '
                'transform out'
            )
        return bboxes, ignored_bboxes

    def _data_info(self, sample: dict) -> Optional[dict]:
        """The data set's own record of the sample's image; None if it keeps no annotations."""
        if not self.is_annotated:
            return None
        names = tuple(name for name in ('img_path', 'img_id') if name in sample)
        if names not in self.indices:
            self.indices[names] = self._index(names)
        key = tuple(sample[name] for name in names)
        index = self.indices[names].get(key)
        if index is None:
            raise ValueError(
                f'{dict(zip(names, key))} is not the name of one image of the data set; '
                + IN_META_KEYS.format("img_id', 'img_path")
            )
        return self.dataset.get_data_info(index)

    def _index(self, names: Tuple[str, ...]) -> Dict[tuple, Optional[int]]:
        """Where in the data set an image of these names is; None if there are several with other annotations."""
        indices: Dict[tuple, Optional[int]] = {}
        for index in range(len(self.dataset)):
            info = self.dataset.get_data_info(index)
            key = tuple(info.get(name) for name in names)
            other = indices.setdefault(key, index)
            if other not in (index, None) and self.dataset.get_data_info(other)['instances'] != info['instances']:
                indices[key] = None
        return indices


def dataset_being_evaluated() -> Optional[Dataset]:
    """The data set of the validation or test loop that calls, at whatever depth; None outside of one.

    MMEngine hands its metrics samples and ``dataset_meta`` alone, so the loop is looked up in the call stack.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get('self')
        if isinstance(caller, BaseLoop) and hasattr(caller, 'evaluator'):
            return caller.dataloader.dataset
        frame = frame.f_back
    return None


def _is_annotated(dataset: Any) -> bool:
    return hasattr(dataset, 'get_data_info') and len(dataset) > 0 and 'instances' in dataset.get_data_info(0)


def _transforms(dataset: Any) -> Iterator:
    """Of the pipeline of a data set and of those that it wraps, also within others such as ``RandomChoice``."""
    yield from _within(getattr(dataset, 'pipeline', None))
    for inner in (getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', [])):
        if inner is not None:
            yield from _transforms(inner)


def _within(transform: Any) -> Iterator:
    if isinstance(transform, (list, tuple)):
        for inner in transform:
            yield inner
            yield from _within(inner)
    for key in ('transforms', 'subroutines'):  # those of test-time augmentation
        if hasattr(transform, key):
            yield from _within(getattr(transform, key))


def _moves(transform: Any) -> bool:
    # RandomCenterCropPad in test mode pads, and tells the head by how much
    return isinstance(transform, MOVING) and not getattr(transform, 'test_mode', False)


def _crop(sample: dict) -> str:
    """In words, where an image is smaller than resizing made it. Pad makes it larger."""
    if not {'ori_shape', 'img_shape', 'scale_factor'} <= set(sample):
        return ''
    ori_shape, img_shape, scale_factor = sample['ori_shape'][:2], sample['img_shape'][:2], sample['scale_factor']
    resized = np.array(ori_shape) * np.broadcast_to(scale_factor, 2)[::-1]
    if (img_shape >= resized - 1).all():
        return ''
    return (
        f'img_shape={img_shape} is smaller than ori_shape={ori_shape} times scale_factor={scale_factor}, as after a '
        'crop or a second Resize'
    )


def _annotated_bboxes(instances: list) -> Tuple[np.ndarray, np.ndarray]:
    instances = [instance for instance in instances if 'bbox' in instance]
    bboxes = np.array([instance['bbox'] for instance in instances], dtype=np.float64).reshape(len(instances), 4)
    ignored = np.array([instance.get('ignore_flag', 0) for instance in instances], dtype=bool)
    return bboxes[~ignored], bboxes[ignored]


def _packed_bboxes(sample: dict) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """What the pipeline packed, in pixels of its own; None if it loads no boxes. Without ignored ones, none are."""
    objects, ignored = (sample.get(key, {}).get('bboxes') for key in ('gt_instances', 'ignored_instances'))
    if objects is None:
        return None
    ignored = objects[:0] if ignored is None else ignored
    return tuple(get_box_tensor(bboxes).cpu().double().reshape(-1, 4).numpy() for bboxes in (objects, ignored))


def _same_objects(bboxes: np.ndarray, packed: np.ndarray, sample: dict, merged_views: bool) -> bool:
    """Whether a pipeline packed a data set's boxes as they are or as resized, maybe without some of them."""
    if merged_views or len(packed) != len(bboxes):
        return len(packed) <= len(bboxes)
    scale = np.tile(sample.get('scale_factor', (1, 1)), 2)
    resized = bboxes * scale
    candidates = [bboxes, resized]
    if 'ori_shape' in sample:  # Resize clips boxes to the image
        height, width = sample['ori_shape'][:2]
        candidates.append(resized.clip(0, scale * (width, height, width, height)))
    return any(np.allclose(packed, candidate, rtol=1e-4, atol=0.01) for candidate in candidates)
