"""What an RPN may have found that is not annotated, as ignored regions in COCO's format."""

import json
import os
from typing import List

import torch
from mmcv.ops import nms
from mmdet.datasets import CocoDataset
from mmdet.structures.bbox import bbox_overlaps
from mmengine.dataset import BaseDataset
from mmengine.fileio import get_text
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_nrpn.evaluation import ProposalErrors

# Between two regions an IoU, and between a region and an object a share of the smaller of the two.
MOST_OVERLAP = 0.3


def is_coco(dataset: BaseDataset) -> bool:
    return isinstance(dataset, CocoDataset) and type(dataset).load_data_list is CocoDataset.load_data_list


def annotations_of(dataset: BaseDataset) -> dict:
    """A data set in COCO's format: the content of its file, or what MMDetection reads from files of other formats."""
    if is_coco(dataset):
        return {'annotations': [], **json.loads(get_text(dataset.ann_file, backend_args=dataset.backend_args))}
    categories = [dict(id=label + 1, name=name) for label, name in enumerate(dataset.metainfo['classes'])]
    content = dict(images=[], annotations=[], categories=categories)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        name = os.path.relpath(info['img_path'], dataset.data_root or '.')
        if not {'width', 'height'} <= info.keys():
            raise ValueError(
                f'{type(dataset).__name__} gives no width and height of {name}, which COCO needs; add them'
            )
        content['images'].append(
            dict(id=index + 1, file_name=name, width=int(info['width']), height=int(info['height']))
        )
        for instance in info['instances']:
            x1, y1, x2, y2 = map(float, instance['bbox'])  # they may be NumPy's
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=index + 1,
                    category_id=int(instance['bbox_label']) + 1,
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                    iscrowd=int(instance['ignore_flag']),
                )
            )
    return content


def regions_of(errors: ProposalErrors, score: float, per_image: int) -> InstanceData:
    """An image's top false positives after NMS, without those that share much with an object."""
    wrong = InstanceData(
        bboxes=torch.from_numpy(errors.false_positives).float(),
        scores=torch.from_numpy(errors.false_positive_scores).float(),
    )
    objects = torch.from_numpy(errors.gt_bboxes).float()
    is_whole = (wrong.bboxes[:, 2:] - wrong.bboxes[:, :2] >= 1).all(dim=1)  # MMDetection passes over smaller ones
    wrong = wrong[is_whole & (wrong.scores >= score)]
    wrong = wrong[largest_share(wrong.bboxes, objects) < MOST_OVERLAP]
    return wrong[nms(wrong.bboxes, wrong.scores, MOST_OVERLAP)[1][:per_image]]


def largest_share(bboxes: Tensor, objects: Tensor) -> Tensor:
    """What each box shares with an object at most, as a share of the smaller of the two; 0 without objects.

    A box in an object is a part of it, and anchors of an object in an ignored box would be ignored, too.
    """
    if len(objects) == 0:
        return bboxes.new_zeros(len(bboxes))
    shares = bbox_overlaps(bboxes, objects, mode='iof').maximum(bbox_overlaps(objects, bboxes, mode='iof').T)
    return shares.max(dim=1).values


def add_regions(content: dict, dataset: BaseDataset, found: List[list]) -> None:
    """Append the regions to annotations in COCO's format, of the first class: a region belongs to none."""
    category = dataset.cat_ids[0] if is_coco(dataset) else 1
    ids = [annotation['id'] for annotation in content['annotations']]
    # some tools write names, or 1.0
    number = int(max((number for number in ids if isinstance(number, (int, float))), default=0))
    for index, regions in enumerate(found):
        image = dataset.get_data_info(index)['img_id'] if is_coco(dataset) else index + 1
        for *bbox, score in regions:
            number += 1
            x1, y1, x2, y2 = (round(value, 1) for value in bbox)
            width, height = round(x2 - x1, 1), round(y2 - y1, 1)
            content['annotations'].append(
                dict(
                    id=number,
                    image_id=image,
                    category_id=category,
                    bbox=[x1, y1, width, height],
                    area=round(width * height, 2),
                    segmentation=[[x1, y1, x2, y1, x2, y2, x1, y2]],  # for detectors that load masks
                    iscrowd=1,
                    score=round(score, 3),
                )
            )
