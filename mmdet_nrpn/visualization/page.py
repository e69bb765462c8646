import base64
import json
from pathlib import Path
from typing import List, Optional, Sequence

import cv2
import mmcv
import numpy as np

from ..evaluation.functional import box_ious
from ..models.dense_heads.nrpn_settings import FALSE_POSITIVES
from .look import BEST, SAME_PLACE, Look

TEMPLATE = Path(__file__).with_name('page.html')
# pixels of a picture's longer side, and JPEG's quality: some 25 kB a picture
SIDE, QUALITY = 480, 80
# from which false positives count until a reader chooses otherwise
SCORE = FALSE_POSITIVES['score_thr']
ABOUT = (
    f"Of each picture the RPN's {BEST} best proposals. A false positive overlaps no object by an IoU of 0.3; an object "
    f'is missed if no proposal overlaps it by {SAME_PLACE}. How wrong: missed objects plus the scores of the false '
    'positives. Click on a picture to enlarge it.'
)
OF_TWO = ' Scores of two RPNs need not mean the same; from 0 on, the 100 best proposals of both count.'


def write_page(pictures: List[dict], names: Sequence[str], path: Path, num_shown: int) -> None:
    """Write what RPNs make of pictures as one HTML file that needs nothing else.

    Args:
        pictures (list[dict]): Of :func:`entry`.
        names (Sequence[str]): The RPN's name, or two: the baseline's and the one compared with it.
        path (Path): The file.
        num_shown (int): Only the so many pictures that the RPNs are most wrong about are in it to be seen; all count.
    """
    worst = sorted(pictures, key=lambda picture: -_wrongness(picture))
    for picture in worst[num_shown:]:
        picture['image'] = None
        for side in picture['sides']:
            side['regions'] = side['regions'] and []
    about = ABOUT + OF_TWO * (len(names) == 2)
    left = f' Shown are the {num_shown} that are most wrong.' if len(pictures) > num_shown else ''
    # '<' would end the script that holds the data
    data = json.dumps(dict(names=names, score=SCORE, about=about + left, pictures=pictures)).replace('<', '\\u003c')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEMPLATE.read_text(encoding='utf-8').replace('__DATA__', data), encoding='utf-8')


def _wrongness(picture: dict) -> float:
    return sum(
        side['found'].count(False) + sum(box[4] for box in side['false'] if box[4] >= SCORE)
        for side in picture['sides']
    )


def entry(name: str, image: np.ndarray, width: int, height: int, looks: Sequence[Look], has_nrpn: List[bool]) -> dict:
    """What the page needs of a picture.

    Args:
        name (str): Shown above it.
        image (np.ndarray): (H, W, 3) BGR uint8, of any size.
        width (int): Of the picture that the boxes are in, in pixels.
        height (int): The same.
        looks (Sequence[Look]): Of one RPN, or of two.
        has_nrpn (list[bool]): Which of them have an nRPN.

    Returns:
        dict: To be written as JSON.
    """
    scale = min(1.0, SIDE / max(image.shape[:2]))
    _, jpeg = cv2.imencode('.jpg', mmcv.imrescale(image, scale), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    others = [None] if len(looks) == 1 else looks[::-1]
    return dict(
        name=name,
        width=width,
        height=height,
        image='data:image/jpeg;base64,' + base64.b64encode(jpeg.tobytes()).decode(),
        objects=_rounded(looks[0].objects),
        ignored=_rounded(looks[0].ignored),
        sides=[_side(*side) for side in zip(looks, others, has_nrpn)],
    )


def _side(seen: Look, other: Optional[Look], has_nrpn: bool) -> dict:
    false = np.column_stack([_rounded(seen.false_positives), seen.false_positive_scores.astype(float).round(3)])
    regions = np.column_stack([_rounded(seen.regions), seen.region_scores.astype(float).round(3)])
    return dict(
        found=seen.found.tolist(),
        false=[
            [*box, float(there), bool(foreseen)]
            for box, there, foreseen in zip(false.tolist(), _score_there(seen, other), seen.foreseen)
        ],
        regions=regions.tolist() if has_nrpn else None,
    )


def _score_there(seen: Look, other: Optional[Look]) -> np.ndarray:
    """The best score of the other RPN's false positives in the place of each, -1 where it has none."""
    if other is None or len(other.false_positives) == 0:
        return np.full(len(seen.false_positives), -1.0)
    same = box_ious(seen.false_positives, other.false_positives) >= SAME_PLACE
    return np.where(same, other.false_positive_scores.astype(float), -1.0).max(axis=1).round(3)


def _rounded(bboxes: np.ndarray) -> list:
    return np.asarray(bboxes, dtype=float).round(1).tolist()  # in float32 the digits would come back
