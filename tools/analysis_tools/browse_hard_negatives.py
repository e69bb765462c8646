"""Write a page to browse what an RPN gets wrong on the validation images, and what its nRPN proposes.

    python tools/analysis_tools/browse_hard_negatives.py CONFIG CHECKPOINT
    python tools/analysis_tools/browse_hard_negatives.py CONFIG CHECKPOINT --baseline STOCK_CONFIG STOCK_CHECKPOINT

One HTML file that opens in any browser, without a network: objects, missed objects, false positives and nRPN's regions
of each image, the worst first. With a baseline, both side by side, the images first on which they differ most: which
false positives are gone or new, which objects gained or lost among the top 10, 30 or 100 proposals. Any detector with
an RPNHead will do; without an nRPN in the checkpoint there are no regions.
"""

import base64
import json
import os
import sys
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmdet_nrpn.evaluation import ProposalErrors, find_proposal_errors
from mmdet_nrpn.evaluation.functional.proposal_errors import SAME_PLACE_IOU, TOP_K

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from arguments import Parser, existing_file, new_file, told
from detectors import Detector, build, run
from whole_files import WholeFileBackend

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
    entries, has_nrpn = [], [detector.has_nrpn for detector in detectors]
    for batch, outputs in run(detectors, loader, 'Looking at the validation images'):
        sample = batch['data_samples'][0]
        scales = sample.get('scale_factor', (1, 1))[::-1]
        height, width = (round(side * scale) for side, scale in zip(sample.ori_shape, scales))
        image = batch['inputs'][0][:, :height, :width]  # without padding
        errors = [find_proposal_errors(*of_detector, rescale=True)[0] for of_detector in outputs]
        path = os.path.abspath(str(sample.get('img_path') or sample.get('img_id')))
        entries.append(image_entry(path, image.permute(1, 2, 0).numpy(), sample.ori_shape, errors, has_nrpn))
    # as much of the folders as tells images of the same name in several folders apart
    folder = os.path.commonpath([os.path.dirname(entry['name']) for entry in entries])
    return [dict(entry, name=os.path.relpath(entry['name'], folder)) for entry in entries]


def image_entry(
    name: str, image: np.ndarray, shape: Tuple[int, ...], errors: Sequence[ProposalErrors], has_nrpn: List[bool]
) -> dict:
    """What the page needs of one image, to be written as JSON.

    Args:
        name (str): Shown above it.
        image (np.ndarray): (H, W, C) of any size, as a pipeline loads it: BGR if it has three channels or more, grey by
            the first channel otherwise. What is not uint8 is stretched to the range of uint8.
        shape (tuple): Height and width of the original image, which the boxes are in, in pixels.
        errors (Sequence[ProposalErrors]): Of one RPN, or of two.
        has_nrpn (list[bool]): Which of them have an nRPN.
    """
    others = [None] if len(errors) == 1 else errors[::-1]
    return dict(
        name=name,
        width=shape[1],
        height=shape[0],
        jpeg='data:image/jpeg;base64,' + base64.b64encode(_encode_jpeg(image)).decode(),
        objects=_rounded(errors[0].gt_bboxes),
        ignored=_rounded(errors[0].ignored_bboxes),
        rpns=[_rpn_entry(*rpn) for rpn in zip(errors, others, has_nrpn)],
    )


def _encode_jpeg(image: np.ndarray) -> bytes:
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    if image.dtype != np.uint8:
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = tuple(max(1, round(scale * side)) for side in image.shape[1::-1])
    return cv2.imencode('.jpg', cv2.resize(image, size), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


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


def write_page(images: List[dict], names: Sequence[str], path: Path, num_shown: int = 500) -> None:
    """Write what RPNs get wrong on images as one HTML file that needs nothing else.

    ``names`` are the RPN's, or the baseline's and that of the RPN compared with it. In the page are ``num_shown`` of
    them, those that the RPN is most wrong about or that two differ most on; the totals are of all.
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
    data = json.dumps(dict(names=names, score=SCORE, top=TOP, about=about + left_out, images=images))
    page = TEMPLATE.read_text(encoding='utf-8').replace('__DATA__', data.replace('<', '\\u003c'))  # ends no script
    WholeFileBackend().put_text(page, path)


def _wrongness(image: dict) -> float:
    (rpn,) = image['rpns']
    return sum(rank > TOP_K for rank in rpn['ranks']) + sum(box[4] for box in rpn['false'] if box[4] >= SCORE)


def _difference(image: dict) -> int:
    """Objects and false positives that one of two RPNs has alone among its top proposals."""
    found = ([rank <= TOP for rank in rpn['ranks']] for rpn in image['rpns'])
    alone = sum(box[5] <= TOP < box[6] for rpn in image['rpns'] for box in rpn['false'])
    return alone + sum(before != after for before, after in zip(*found))


def main() -> None:
    parser = Parser(__doc__, 'config', 'checkpoint')
    names = ('CONFIG', 'CHECKPOINT')
    parser.add_argument('--baseline', type=existing_file, nargs=2, metavar=names, help='to be compared with')
    parser.add_argument('--out', type=new_file('.html'), default='hard_negatives.html', help='page to write')
    args = parser.parse_args()
    files = [*([args.baseline] if args.baseline else []), (args.config, args.checkpoint)]
    with told():
        detectors = [build(*pair) for pair in files]
    # of the config that is looked at, also for the baseline
    if not (loader := detectors[-1].cfg.get('val_dataloader')):
        sys.exit(f'{args.config}: there are no images to look at; give it a val_dataloader')
    with told(f'{args.config}: val_dataloader'):
        images = entries_of(detectors, Runner.build_dataloader(dict(loader, batch_size=1), seed=0))
    names = [config.stem for config, _ in files]
    if len({*names}) < len(names):
        names = [str(checkpoint) for _, checkpoint in files]
    write_page(images, names, args.out)
    print(f'{len(images)} images, {args.out.stat().st_size / 2**20:.1f} MiB: open {args.out} in a browser')


if __name__ == '__main__':
    main()
