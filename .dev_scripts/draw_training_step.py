"""Draw one training step for the docs, with names that are taken from the code: a name that changes changes here.

python .dev_scripts/draw_training_step.py docs/images/training_step.svg
"""

import inspect
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mmdet_nrpn import HardNegativeRankLoss, HardNegativeRPNHead, NRPNHead, NRPNSampler
from mmdet_nrpn.utils import Candidates, mine_candidates

RPN, NRPN, DATA = '#cfe8ff', '#ffe2b8', '#eeeeee'
matplotlib.rcParams['svg.fonttype'] = 'none'  # text, not outlines
matplotlib.rcParams['svg.hashsalt'] = 'the same file every time'


def name(function: object) -> str:
    return f'{function.__qualname__}()'


def argument(function: object, wanted: str) -> str:
    assert wanted in inspect.signature(function).parameters, f'{function.__qualname__} has no {wanted}'
    return wanted


def fields(of: type, *wanted: str) -> str:
    missing = {*wanted} - {*of._fields}
    assert not missing, f'{of.__name__} has no {missing}'
    return ', '.join(wanted)


def draw(path: Path) -> None:
    figure = Figure(figsize=(11, 6.4))
    axis = figure.add_axes([0, 0, 1, 1])
    axis.set(xlim=(0, 110), ylim=(0, 64))
    axis.axis('off')

    def box(x, y, width, text, color, height=7):
        patch = FancyBboxPatch((x, y), width, height, boxstyle='round,pad=0.3', facecolor=color, edgecolor='#555555')
        axis.add_patch(patch)
        axis.text(x + width / 2, y + height / 2, text, ha='center', va='center', fontsize=9.5)

    def arrow(start, end, text='', dx=0.8, dy=0.0, ha='left', dashed=False, bend=0):
        style = dict(linestyle='--' if dashed else '-', connectionstyle=f'arc3,rad={bend}')
        axis.add_patch(FancyArrowPatch(start, end, arrowstyle='-|>', mutation_scale=12, color='#333333', **style))
        middle = (start[0] + end[0]) / 2 + dx, (start[1] + end[1]) / 2 + dy
        axis.text(*middle, text, fontsize=8.5, ha=ha, va='center', style='italic')

    box(6, 57, 42, f'{argument(HardNegativeRPNHead.loss, "x")}: features of the FPN', DATA, 5)
    box(6, 43, 42, f'{name(HardNegativeRPNHead.forward_with_hidden)}\nthe stock RPN: objectness s, box deltas', RPN)
    box(6, 29, 42, f'{mine_candidates.__name__}()\nthe top valid anchors, compared with the objects', NRPN)
    box(62, 29, 42, f'{name(NRPNHead.loss_and_hardness)}\nn from BCE(sigmoid(s - n), y): loss_nrpn_cls', NRPN)
    targets = name(HardNegativeRPNHead._targets)
    box(6, 13, 42, f'{targets}\nassigns the valid anchors; samples negatives', RPN)
    box(62, 13, 42, f'{HardNegativeRankLoss.__name__}: loss_rpn_rank\npositives above the hardest negatives', RPN)
    box(6, 1, 42, 'loss_cls, loss_bbox: loss_rpn_cls, loss_rpn_bbox', RPN, 5)

    arrow((27, 56.5), (27, 50.5))
    arrow((27, 42.5), (27, 36.5), 's and boxes, no gradient', dashed=True)
    hidden = argument(NRPNHead.loss_and_hardness, 'hidden')
    arrow((48.5, 46.5), (83, 36.5), f'{hidden} features, no gradient', dx=8, dy=5, dashed=True, bend=-0.2)
    arrow(
        (48.5, 32.5),
        (61.5, 32.5),
        f'{Candidates.__name__}\n{fields(Candidates, "is_false", "is_true")}',
        dx=0,
        dy=2.6,
        ha='center',
    )
    arrow((83, 28.5), (83, 20.5), f'{argument(HardNegativeRankLoss.forward, "prior")}: n of every anchor')
    sampler = f'{argument(NRPNSampler.sample, "hardness")}: n, for {NRPNSampler.__name__}'
    arrow((66, 28.5), (40, 20.5), sampler, dx=-3, dy=1, ha='right')
    masks = [argument(HardNegativeRankLoss.forward, mask) for mask in ('positive', 'negative')]
    arrow((48.5, 16.5), (61.5, 16.5), ',\n'.join(masks), dx=0, dy=-2.8, ha='center')
    arrow((5.5, 45), (5.5, 4), bend=0.12)
    axis.text(1.5, 25, 's, box deltas', fontsize=8.5, style='italic', rotation=90, va='center')
    arrow((27, 12.5), (27, 6.5), 'sampled anchors')
    axis.text(
        62,
        4,
        'blue: the RPN and its losses\norange: the nRPN, which is there only in training',
        fontsize=9,
        va='center',
    )
    figure.savefig(path, metadata=dict(Date=None))


if __name__ == '__main__':
    draw(Path(sys.argv[1]))
