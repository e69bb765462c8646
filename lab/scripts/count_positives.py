"""Count the anchors that teach an RPN what an object is: positives per image, and objects that have none.

    python lab/scripts/count_positives.py CONFIG --num-images 500

An RPN with few positives gains from whatever gives it more. Compare methods on a base that has enough.
"""

import sys
from pathlib import Path
from typing import Dict, List

import torch
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps, cat_boxes, get_box_tensor
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from rich.progress import track

from mmdet_nrpn.utils import rpn_of

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
from arguments import Parser, at_least, told
from detectors import build_detector, tell_step


def count_positives(cfg: Config, num_images: int) -> Dict[str, float]:
    """Count what the RPN's assigner makes of the training data.

    Args:
        cfg (Config): A detector's with an RPN.
        num_images (int): Images to look at, evenly over the data set.

    Returns:
        dict[str, float]: Means over the images: ``objects``, ``positives``, ``negatives`` and ``neither`` (anchors
        that have no target) per image; ``positives of IoU 0.5``, of anchor and object; and ``objects without``, the
        share of objects that no anchor is assigned to, in percent.

    Raises:
        ValueError: If the model has no RPN of its own.
    """
    model = build_detector(cfg)
    head = rpn_of(model)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    totals: Dict[str, float] = {}
    indices = spread(len(dataset), num_images)
    for number, index in enumerate(track(indices, 'Assigning')):
        tell_step(number)
        (sample,) = model.data_preprocessor(pseudo_collate([dataset[index]]), True)['data_samples']
        for name, value in _of_image(head, sample).items():
            totals[name] = totals.get(name, 0) + value
    without = totals.pop('objects without')
    return {
        **{name: value / len(indices) for name, value in totals.items()},
        'objects without': 100 * without / max(totals['objects'], 1),
    }


def spread(num: int, num_chosen: int) -> List[int]:
    """So many of ``num`` indices, evenly over all; all, if there are fewer."""
    num_chosen = min(num, num_chosen)
    return [num * i // num_chosen for i in range(num_chosen)]


def _of_image(head: torch.nn.Module, sample: DetDataSample) -> Dict[str, float]:
    """As the head's ``_get_targets_single`` does it, before anything is sampled."""
    height, width = sample.pad_shape[:2]
    sizes = [(-(-height // y), -(-width // x)) for x, y in head.prior_generator.strides]
    (levels,), (flags,) = head.get_anchors(sizes, [sample.metainfo], device='cpu')
    anchors, border = cat_boxes(levels), head.train_cfg['allowed_border']
    anchors = anchors[anchor_inside_flags(anchors, torch.cat(flags), sample.img_shape[:2], border)]
    boxes = sample.gt_instances.bboxes
    gt = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long))
    assigned = head.assigner.assign(InstanceData(priors=anchors), gt, sample.get('ignored_instances'))
    positive = assigned.gt_inds > 0
    # not max_overlaps: a low-quality match may give an anchor to another object
    theirs = boxes[assigned.gt_inds[positive] - 1]
    ious = bbox_overlaps(get_box_tensor(anchors[positive]), get_box_tensor(theirs), is_aligned=True)
    return {
        'objects': len(boxes),
        'positives': int(positive.sum()),
        'positives of IoU 0.5': int((ious >= 0.5).sum()),
        'negatives': int((assigned.gt_inds == 0).sum()),
        'neither': int((assigned.gt_inds < 0).sum()),
        'objects without': len(boxes) - len(assigned.gt_inds[positive].unique()),
    }


def main() -> None:
    parser = Parser(__doc__, 'config')
    parser.add_argument('--num-images', type=at_least(1), default=500, help='evenly over the data set')
    args = parser.parse_args()
    with told(args.config):
        counts = count_positives(Config.fromfile(args.config), args.num_images)
    for name, value in counts.items():
        print(f'{name:22}{value:9.1f}')


if __name__ == '__main__':
    main()
