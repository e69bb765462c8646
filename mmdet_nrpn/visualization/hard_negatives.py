from pathlib import Path
from typing import List

import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

OBJECT, IGNORED, WRONG, HARD = '#19e04b', '#f0f0f0', '#ff3030', '#ffb000'


def plot_hard_negatives(pictures: List[dict], path: Path) -> None:
    """Draw, a column a picture: what RPN gets wrong above, what nRPN proposes as hard negatives below.

    Args:
        pictures (list[dict]): Each with ``image`` (H, W, 3) RGB, and boxes (x1, y1, x2, y2) in its pixels:
            ``objects``, ``ignored``, ``false_positives`` with ``false_positive_scores``, and ``regions`` with
            ``region_scores``; scores in [0, 1].
        path (Path): PNG or SVG file to write.
    """
    figure, axes = plt.subplots(
        2, len(pictures), figsize=(3.2 * len(pictures), 6.8), squeeze=False, layout='constrained'
    )
    for column, picture in enumerate(pictures):
        _panel(axes[0, column], picture, picture['false_positives'], picture['false_positive_scores'], WRONG)
        _panel(axes[1, column], picture, picture['regions'], picture['region_scores'], HARD)
    axes[0, 0].set_ylabel("RPN's false positives, with its score", fontsize=10)
    axes[1, 0].set_ylabel("nRPN's regions, with its score", fontsize=10)
    names = (
        ('object', OBJECT, '-'),
        ('ignored object', IGNORED, '--'),
        ('false positive', WRONG, '-'),
        ("nRPN's region", HARD, '-'),
    )
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=color, linestyle=dash) for _, color, dash in names]
    legend = figure.legend(handles, [name for name, _, _ in names], ncols=4, loc='outside lower center')
    legend.get_frame().set_facecolor('#808080')
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis: plt.Axes, picture: dict, bboxes: np.ndarray, scores: np.ndarray, color: str) -> None:
    axis.imshow(picture['image'])
    axis.set(xticks=[], yticks=[])
    for name, edge, dash in (('objects', OBJECT, '-'), ('ignored', IGNORED, '--')):
        for box in picture[name]:
            _draw(axis, box, edge, dash, width=2.5)
    for box, score in zip(bboxes, scores):
        _draw(axis, box, color, '-', width=1)
        axis.text(
            box[0],
            box[1],
            f'{score:.2f}',
            color='black',
            fontsize=6,
            va='bottom',
            bbox=dict(facecolor=color, pad=0.5, lw=0),
        )


def _draw(axis: plt.Axes, box: np.ndarray, color: str, dash: str, width: float) -> None:
    x1, y1, x2, y2 = box
    axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linestyle=dash, linewidth=width))
