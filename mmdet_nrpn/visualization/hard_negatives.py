from typing import List, Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..evaluation import ProposalErrors, SampledNegatives

OBJECT, IGNORED, WRONG, REGION, HARD, RANDOM = '#19e04b', '#f0f0f0', '#ff3030', '#ffb000', '#ff30ff', '#40c0ff'
LEGEND = (
    ('object', OBJECT, '-'),
    ('ignored object', IGNORED, '--'),
    ('false positive', WRONG, '-'),
    ("nRPN's region", REGION, '-'),
    ('negative sampled as hard', HARD, '-'),
    ('negative sampled at random', RANDOM, ':'),
)


def draw_hard_negatives(
    images: List[np.ndarray],
    errors: List[ProposalErrors],
    sampled: Optional[List[SampledNegatives]] = None,
    num: int = 8,
) -> np.ndarray:
    """Draw a column per image: what the RPN gets wrong, what nRPN proposes, which negatives were sampled.

    Args:
        images (list[np.ndarray]): (H, W, 3) RGB uint8.
        errors (list[ProposalErrors]): In pixels of these images.
        sampled (list[SampledNegatives], optional): None leaves that row out.
        num (int): False positives and regions per image, best scores first. Defaults to 8.

    Returns:
        np.ndarray: (H, W, 3) RGB uint8.
    """
    has_regions = any(len(of_image.regions) for of_image in errors)
    rows = 1 + has_regions + (sampled is not None)
    figure = Figure(figsize=(3.6 * len(images), 3.2 * rows + 0.6), dpi=110, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(rows, len(images), squeeze=False)
    for column, (image, of_image) in enumerate(zip(images, errors)):
        panels = iter(axes[:, column])
        panel = _panel(next(panels), image, of_image, "RPN's false positives")
        _scored(panel, of_image.false_positives[:num], of_image.false_positive_scores, WRONG)
        if has_regions:
            panel = _panel(next(panels), image, of_image, "nRPN's regions")
            _scored(panel, of_image.regions[:num], of_image.region_scores, REGION)
        if sampled is not None:
            panel = _panel(next(panels), image, of_image, 'sampled negatives')
            _outline(panel, sampled[column].random, RANDOM, ':', 0.6)
            _outline(panel, sampled[column].hard, HARD, '-', 0.8)
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=color, linestyle=dash) for _, color, dash in LEGEND]
    legend = figure.legend(handles, [name for name, *_ in LEGEND], ncols=3, loc='outside lower center')
    legend.get_frame().set_facecolor('#808080')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _panel(axis: Axes, image: np.ndarray, errors: ProposalErrors, title: str) -> Axes:
    axis.imshow(image)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=9)
    _outline(axis, errors.gt_bboxes, OBJECT, '-', 2.5)
    _outline(axis, errors.ignored_bboxes, IGNORED, '--', 2.5)
    return axis


def _scored(axis: Axes, bboxes: np.ndarray, scores: np.ndarray, color: str) -> None:
    _outline(axis, bboxes, color, '-', 1)
    for (x1, y1, *_), score in zip(bboxes, scores):
        axis.text(x1, y1, f'{score:.2f}', fontsize=6, va='bottom', bbox=dict(facecolor=color, pad=0.5, lw=0))


def _outline(axis: Axes, bboxes: np.ndarray, color: str, dash: str, width: float) -> None:
    for x1, y1, x2, y2 in bboxes:
        box = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linestyle=dash, linewidth=width)
        axis.add_patch(box)
