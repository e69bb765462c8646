"""Write a training set's annotations with an RPN's top false positives among them, as ignored regions.

    python lab/scripts/ignore_false_positives.py CONFIG CHECKPOINT OUT.json

For data in which not every object is annotated: what a trained RPN takes for an object on the *training* images may be
one. The file is in COCO's format, whatever format the config's training set has. A region is an annotation with
iscrowd=1, so training passes it over, and with the RPN's score, so the regions most worth annotating come first when
sorted. When and how to use it: lab/pages/partly_labelled.md.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import List, Tuple

import torch
from mmcv.ops import nms
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.fileio import get_text
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_nrpn.evaluation import ProposalErrors, find_proposal_errors
from mmdet_nrpn.utils import can_become_file

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
from arguments import at_least, existing_file
from detectors import Detector, build, run
from whole_files import written_beside

# Between two regions an IoU, and between a region and an object a share of the smaller of the two.
MOST_OVERLAP = 0.3


def training_set(cfg: Config) -> Tuple[BaseDataset, ConfigDict, str]:
    """The config's training images, all of them, through the pipeline of its validation images.

    Returns:
        tuple: The data set, its config, and where that stands.

    Raises:
        ValueError: If the config has no validation data, trains on several data sets, or has no class that the
            annotations have.
    """
    if cfg.get('val_dataloader') is None:
        raise ValueError('there is no pipeline without augmentation; give it a val_dataloader')
    (train, key), (val, _) = (_unwrapped(cfg, key) for key in ('train_dataloader', 'val_dataloader'))
    if 'pipeline' not in val:
        raise ValueError(f'val_dataloader.dataset is a {val.type} without a pipeline; give it one of images')
    small = (train.get('filter_cfg') or {}).get('bbox_min_size')  # what is smaller is ignored in training
    every = dict(filter_cfg=None, test_mode=True) if small is None else dict(filter_cfg=dict(bbox_min_size=small))
    dataset = DATASETS.build(dict(train, pipeline=val.pipeline, **every))
    if is_coco(dataset) and not dataset.cat_ids:
        raise ValueError(
            f'{key}.metainfo.classes={dataset.metainfo["classes"]} has no category of '
            f'{dataset.ann_file}; write the names as they stand there'
        )
    return dataset, train, key


def _unwrapped(cfg: Config, key: str) -> Tuple[ConfigDict, str]:
    data, key = cfg[key].dataset, f'{key}.dataset'
    while 'dataset' in data:  # repeated, say
        data, key = data.dataset, f'{key}.dataset'
    if 'datasets' in data:
        raise ValueError(
            f'{key} is a {data.type} of {len(data.datasets)} data sets; write a config for each, and use the '
            'tool on one after the other'
        )
    return data, key


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


def find_regions(detector: Detector, dataset: BaseDataset, score: float, per_image: int) -> List[list]:
    """The regions of each image as (x1, y1, x2, y2, score), in pixels of the original image."""
    num_workers = detector.cfg.val_dataloader.num_workers
    sampler = dict(type='DefaultSampler', shuffle=False)
    loader = Runner.build_dataloader(dict(batch_size=1, num_workers=num_workers, sampler=sampler, dataset=dataset))
    found = []
    for _, (outputs,) in run([detector], loader, 'Looking at the training images'):
        regions = regions_of(find_proposal_errors(*outputs, rescale=True)[0], score, per_image)
        found.append(torch.cat([regions.bboxes, regions.scores[:, None]], dim=1).tolist())
    return found


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


def without_left_out(found: List[list], dataset: BaseDataset, train: ConfigDict, key: str) -> List[list]:
    """No regions for images that training leaves out, for they would bring these in, with all anchors as negatives."""
    if not (train.get('filter_cfg') or {}).get('filter_empty_gt'):
        return found
    empty = [not dataset.get_data_info(index)['instances'] for index in range(len(dataset))]
    if any(empty):
        print(
            f'{sum(empty)} images without an object get no regions, for {key}.filter_cfg.filter_empty_gt leaves '
            'them out of the training'
        )
    return [[] if is_empty else regions for is_empty, regions in zip(empty, found)]


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


def lines_to_train_with(out: Path, dataset: BaseDataset, train: ConfigDict) -> str:
    """What to change in the training set's config, as arguments of a ``dict``."""
    changes = dict(ann_file=str(out.resolve()))
    if not is_coco(dataset):
        classes = tuple(dataset.metainfo['classes'])
        changes.update(type='CocoDataset', data_root=dataset.data_root, data_prefix=dict(img=''))
        changes.update(metainfo=dict(classes=classes), **(dict(indices=None) if train.get('indices') else {}))
    return ', '.join(f'{name}={value!r}' for name, value in changes.items())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=existing_file, help='of a detector with an RPN')
    parser.add_argument('checkpoint', type=existing_file)
    parser.add_argument('out', type=Path, help='file to write; left alone if it is there')
    parser.add_argument('--score', type=float, default=0.3, help='least objectness of a region (default: %(default)s)')
    parser.add_argument(
        '--per-image', type=at_least(1), default=3, help='most regions per image (default: %(default)s)'
    )
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f'{args.out} is there already; name a new file')
    if not can_become_file(args.out):
        parser.error(f'OUT must name a file in a folder, got {args.out}')
    if not 0 <= args.score <= 1:
        parser.error(f'--score is an objectness in [0, 1], got {args.score}')
    return args


def main() -> None:
    args = parse_args()
    try:
        detector = build(args.config, args.checkpoint)._replace(has_nrpn=False)  # its regions are not looked at
    except ValueError as error:
        sys.exit(str(error))
    try:
        dataset, train, key = training_set(detector.cfg)
        content = annotations_of(dataset)  # before hours of looking at images
        found = find_regions(detector, dataset, args.score, args.per_image)
        found = without_left_out(found, dataset, train, key)
    except ValueError as error:
        sys.exit(f'{args.config}: {error}')
    num_objects, num_regions = len(content['annotations']), sum(map(len, found))
    if num_regions == 0:
        sys.exit(f'No false positive has an objectness of {args.score} or more; give a lower --score')
    add_regions(content, dataset, found)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(args.out) as part:
        Path(part).write_text(json.dumps(content), encoding='utf-8')
    print(f'{num_objects} annotations and {num_regions} regions on {sum(map(bool, found))} of {len(found)} images.')
    print(f'To train with them: {key} with {lines_to_train_with(args.out, dataset, train)}')


if __name__ == '__main__':
    main()
