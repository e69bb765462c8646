from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import torch

from ..utils import bboxes_of
from .comparable import NOT_COMPARABLE, Passed, transforms_of


class Objects(NamedTuple):
    """Objects of an image: boxes (x1, y1, x2, y2) in float64, (G, 4), and labels, (G,) int; -1 is of any class."""

    bboxes: np.ndarray
    labels: np.ndarray


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
        >>> bboxes, ignored_bboxes = GroundTruth(dataset)(data_sample.to_dict())
    """

    def __init__(self, dataset: Any = None) -> None:
        self.dataset = dataset
        has_info = hasattr(dataset, 'get_data_info') and len(dataset) > 0
        self.is_annotated = has_info and 'instances' in dataset.get_data_info(0)
        self.transforms = transforms_of(dataset)
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
        objects, ignored = self.labelled(sample, merged_views)
        return objects.bboxes, ignored.bboxes

    def labelled(self, sample: dict, merged_views: bool = False) -> Tuple[Objects, Objects]:
        """The same with labels, as the data set numbers them: objects, and ignored ones."""
        annotated, packed = _annotated(self._instances(sample)), _packed(sample)
        known = (found and found[0].bboxes for found in (annotated, packed))
        way = Passed(sample, self.transforms, merged_views, *known)
        for test, reason in NOT_COMPARABLE.items():
            if said := test(way):
                raise ValueError(f'image {sample.get("img_path") or sample.get("img_id")}: {reason.format(said)}')
        found = annotated or packed
        if found is None:
            raise ValueError(
                "no ground truth in the samples; put dict(type='LoadAnnotations', with_bbox=True) into the test "
                'pipeline, after Resize'
            )
        return found

    def _instances(self, sample: dict) -> Optional[List[dict]]:
        """The annotations of the sample's image, by the data set or the sample; None if neither has them."""
        if not self.is_annotated:
            return sample.get('instances')
        name = {key: sample[key] for key in ('img_path', 'img_id') if key in sample}
        if tuple(name) not in self.indices:
            self.indices[tuple(name)] = self._index(tuple(name))
        index = self.indices[tuple(name)].get(tuple(name.values()))
        if index is None:
            raise ValueError(
                f"{name} is not the name of one image of the data set; put 'img_id', 'img_path' into the meta_keys of "
                'PackDetInputs in the test pipeline'
            )
        return self.dataset.get_data_info(index)['instances']

    def _index(self, keys: Tuple[str, ...]) -> Dict[tuple, Optional[int]]:
        """Where in the data set an image is, by its name; None if there are several with other annotations."""
        indices: Dict[tuple, Optional[int]] = {}
        for index in range(len(self.dataset)):
            info = self.dataset.get_data_info(index)
            name = tuple(info.get(key) for key in keys)
            other = indices.setdefault(name, index)
            if other not in (index, None) and self.dataset.get_data_info(other)['instances'] != info['instances']:
                indices[name] = None
        return indices


def _annotated(instances: Optional[List[dict]]) -> Optional[Tuple[Objects, Objects]]:
    if instances is None:
        return None
    instances = [instance for instance in instances if 'bbox' in instance]
    bboxes = np.array([instance['bbox'] for instance in instances], dtype=np.float64).reshape(len(instances), 4)
    labels = np.array([instance.get('bbox_label', -1) for instance in instances], dtype=int)
    ignored = np.array([instance.get('ignore_flag', 0) for instance in instances], dtype=bool)
    return Objects(bboxes[~ignored], labels[~ignored]), Objects(bboxes[ignored], labels[ignored])


def _packed(sample: dict) -> Optional[Tuple[Objects, Objects]]:
    """What the pipeline packed, in pixels of its own; None if it loads no boxes. Without ignored ones, none are."""
    if sample.get('gt_instances', {}).get('bboxes') is None:
        return None
    return _objects(sample['gt_instances']), _objects(sample.get('ignored_instances'))


def _objects(instances: Optional[dict]) -> Objects:
    bboxes = bboxes_of(instances, torch.zeros(0, dtype=torch.float64)).numpy()
    labels = None if instances is None else instances.get('labels')
    return Objects(bboxes, np.full(len(bboxes), -1) if labels is None else torch.as_tensor(labels).cpu().numpy())
