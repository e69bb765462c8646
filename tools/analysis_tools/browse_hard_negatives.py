"""Write a page to browse what an RPN gets wrong on the validation images, and what its nRPN proposes.

    python tools/analysis_tools/browse_hard_negatives.py CONFIG CHECKPOINT
    python tools/analysis_tools/browse_hard_negatives.py CONFIG CHECKPOINT --baseline STOCK_CONFIG STOCK_CHECKPOINT

One HTML file that opens in any browser, without a network: objects, missed objects, false positives and nRPN's regions
of each image, the worst first. With a baseline, both side by side, the images first on which they differ most: which
false positives are gone or new, which objects gained or lost among the top 10, 30 or 100 proposals. Any detector with
an RPNHead will do; without an nRPN in the checkpoint there are no regions.
"""

import argparse
import base64
import json
import os
import sys
from pathlib import Path
from typing import List, Optional, Sequence

import cv2
import mmcv
import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmdet_nrpn.evaluation import ProposalErrors, find_proposal_errors
from mmdet_nrpn.evaluation.functional.proposal_errors import SAME_PLACE_IOU, TOP_K
from mmdet_nrpn.utils import can_become_file

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import at_least, existing_file
from detectors import Detector, build, run

TEMPLATE = Path(__file__).with_name('hard_negatives_page.html')
# longer side of an image in pixels, and JPEG's quality: some 25 kB per image
SIDE, QUALITY = 480, 80
# from which false positives of one RPN count until a reader chooses otherwise, and how many proposals of two
SCORE, TOP = 0.3, 10
ABOUT = (
    f"Of each image the RPN's top {TOP_K} proposals. A false positive overlaps no object by an IoU of 0.3; an object "
    f'is missed if no proposal overlaps it by {SAME_PLACE_IOU}. '
)
ABOUT_ONE = 'How wrong: missed objects plus the scores of the false positives. '
ABOUT_TWO = 'Two RPNs are compared by rank, for their scores need not mean the same: of each, the top proposals count. '


def entries_of(detectors: List[Detector], loader: DataLoader) -> List[dict]:
    """What the page needs of each image of a loader with one image a batch.

    Raises:
        ValueError: If there are no images, or an image's objects are not known in pixels of the original image.
    """
    if len(loader.dataset) == 0:
        raise ValueError('it has no image; check its ann_file and data_prefix')
    if not isinstance(loader.dataset[0]['inputs'], torch.Tensor):
        raise ValueError('it gives no images, so there is nothing to show')
    entries, paths = [], []
    for batch, outputs in run(detectors, loader, 'Looking at the validation images'):
        sample, image = batch['data_samples'][0], batch['inputs'][0]
        errors = [find_proposal_errors(*of_detector, rescale=True)[0] for of_detector in outputs]
        paths.append(str(sample.get('img_path') or sample.get('img_id')))
        height, width = sample.ori_shape[:2]
        has_nrpn = [detector.has_nrpn for detector in detectors]
        entries.append(image_entry('', image.permute(1, 2, 0).numpy(), width, height, errors, has_nrpn))
    for entry, name in zip(entries, below_common_folder(paths)):
        entry['name'] = name
    return entries


def below_common_folder(paths: List[str]) -> List[str]:
    """File names, with as much of the folders as tells images of the same name in several folders apart."""
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return [os.path.relpath(path, folder) for path in paths]


def image_entry(
    name: str, image: np.ndarray, width: int, height: int, errors: Sequence[ProposalErrors], has_nrpn: List[bool]
) -> dict:
    """What the page needs of one image.

    Args:
        name (str): Shown above it.
        image (np.ndarray): (H, W, C) of any size, as a pipeline loads it: BGR if it has three channels or more, grey by
            the first channel otherwise. What is not uint8 is stretched to the range of uint8.
        width (int): Of the original image, which the boxes are in, in pixels.
        height (int): The same.
        errors (Sequence[ProposalErrors]): Of one RPN, or of two.
        has_nrpn (list[bool]): Which of them have an nRPN.

    Returns:
        dict: To be written as JSON.
    """
    others = [None] if len(errors) == 1 else errors[::-1]
    return dict(
        name=name,
        width=width,
        height=height,
        jpeg='data:image/jpeg;base64,' + base64.b64encode(_encode_jpeg(image)).decode(),
        objects=_rounded(errors[0].gt_bboxes),
        ignored=_rounded(errors[0].ignored_bboxes),
        rpns=[_rpn_entry(*rpn) for rpn in zip(errors, others, has_nrpn)],
    )


def _encode_jpeg(image: np.ndarray) -> bytes:
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    if image.dtype != np.uint8:
        image = image.astype(np.float64)
        image = (image - image.min()) * (255 / max(np.ptp(image), 1e-12))
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = tuple(max(1, round(scale * side)) for side in image.shape[1::-1])
    pixels = mmcv.imresize(image, size).round().astype(np.uint8)
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _rpn_entry(errors: ProposalErrors, other: Optional[ProposalErrors], has_nrpn: bool) -> dict:
    false = zip(
        _rounded(errors.false_positives),
        errors.false_positive_scores.astype(float).round(3).tolist(),
        errors.false_positive_ranks.tolist(),
        _other_ranks(errors, other).tolist(),
        errors.predicted_by_nrpn.tolist(),
    )
    regions = np.column_stack([_rounded(errors.regions), errors.region_scores.astype(float).round(3)])
    return dict(
        ranks=errors.gt_ranks.tolist(),
        false=[[*box, *others] for box, *others in false],
        regions=regions.tolist() if has_nrpn else None,
    )


def _other_ranks(errors: ProposalErrors, other: Optional[ProposalErrors]) -> np.ndarray:
    """The best rank of the other RPN's false positives in the place of each; past all where it has none."""
    if other is None or len(other.false_positives) == 0:
        return np.full(len(errors.false_positives), TOP_K + 1)
    mine, others = torch.tensor(errors.false_positives), torch.tensor(other.false_positives)
    same = bbox_overlaps(mine, others).numpy() >= SAME_PLACE_IOU
    return np.where(same, other.false_positive_ranks, TOP_K + 1).min(axis=1)


def _rounded(bboxes: np.ndarray) -> list:
    return np.asarray(bboxes, dtype=float).round(1).tolist()  # in float32 the digits would come back


def write_page(images: List[dict], names: Sequence[str], path: Path, num_shown: int) -> None:
    """Write what RPNs get wrong on images as one HTML file that needs nothing else.

    Args:
        images (list[dict]): Of :func:`image_entry`.
        names (Sequence[str]): The RPN's name, or two: the baseline's and that of the RPN compared with it.
        path (Path): The file.
        num_shown (int): Images in the page, those that the RPN is most wrong about or that two differ most on; the
            totals are of all.
    """
    two = len(names) == 2
    first = sorted(images, key=lambda image: -(_difference(image) if two else _wrongness(image)))
    for image in first[num_shown:]:
        image['jpeg'] = None
        for rpn in image['rpns']:
            rpn['regions'] = rpn['regions'] and []
    about = ABOUT + (ABOUT_TWO if two else ABOUT_ONE) + 'Click on an image to enlarge it.'
    why = 'on which the two differ most' if two else 'that are most wrong'
    left_out = f' Shown are the {num_shown} {why}.' if len(images) > num_shown else ''
    # '<' would end the script that holds the data
    data = json.dumps(dict(names=names, score=SCORE, top=TOP, about=about + left_out, images=images)).replace(
        '<', '\\u003c'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEMPLATE.read_text(encoding='utf-8').replace('__DATA__', data), encoding='utf-8')


def _wrongness(image: dict) -> float:
    (rpn,) = image['rpns']
    return sum(rank > TOP_K for rank in rpn['ranks']) + sum(box[4] for box in rpn['false'] if box[4] >= SCORE)


def _difference(image: dict) -> int:
    """Objects and false positives that one of two RPNs has alone among its top proposals."""
    found = ([rank <= TOP for rank in rpn['ranks']] for rpn in image['rpns'])
    alone = sum(box[5] <= TOP < box[6] for rpn in image['rpns'] for box in rpn['false'])
    return alone + sum(before != after for before, after in zip(*found))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=existing_file)
    parser.add_argument('checkpoint', type=existing_file)
    parser.add_argument(
        '--baseline',
        type=existing_file,
        nargs=2,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='to be compared with, on the same data',
    )
    parser.add_argument(
        '--out', type=Path, default=Path('hard_negatives.html'), help='page to write (default: %(default)s)'
    )
    parser.add_argument(
        '--images',
        type=at_least(1),
        default=500,
        help='so many are shown, the first of their order; all count (default: %(default)s)',
    )
    args = parser.parse_args()
    if not can_become_file(args.out):
        parser.error(f'--out must name a file, no folder, in a folder, got {args.out}')
    return args


def main() -> None:
    args = parse_args()
    files = [*([args.baseline] if args.baseline else []), (args.config, args.checkpoint)]
    try:
        detectors = [build(*pair) for pair in files]
    except ValueError as error:
        sys.exit(str(error))
    # of the config that is looked at, also for the baseline
    loader = detectors[-1].cfg.get('val_dataloader')
    if loader is None:
        sys.exit(f'{args.config}: there are no images to look at; give it a val_dataloader')
    try:
        images = entries_of(detectors, Runner.build_dataloader(dict(loader, batch_size=1), seed=0))
    except ValueError as error:
        sys.exit(f'{args.config}: val_dataloader: {error}')
    stems = [config.stem for config, _ in files]
    names = stems if len(set(stems)) == len(stems) else [str(checkpoint) for _, checkpoint in files]
    write_page(images, names, args.out, args.images)
    print(f'{len(images)} images, {args.out.stat().st_size / 2**20:.1f} MiB: open {args.out} in a browser')


if __name__ == '__main__':
    main()
