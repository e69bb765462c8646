"""Draw one training step for the docs, with names that are taken from the code: a name that changes changes here.

python .dev_scripts/draw_training_step.py docs/images/training_step.svg
"""

import inspect
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mmdet_nrpn import HardNegativeRPNHead, NRPNHead, NRPNSampler, OverlapLoss
from mmdet_nrpn.models.utils import Candidates, mine_candidates

RPN, NRPN, DATA = '#cfe8ff', '#ffe2b8', '#eeeeee'
matplotlib.rcParams['svg.fonttype'] = 'none'  # text, not outlines
matplotlib.rcParams['svg.hashsalt'] = 'the same file every time'


def name(function: object) -> str:
    return f'{function.__qualname__}()'


def argument(function: object, wanted: str) -> str:
    assert wanted in inspect.signature(function).parameters, f'{function.__qualname__} has no {wanted}'
    return wanted


def field(of: type, wanted: str) -> str:
    assert wanted in of._fields, f'{of.__name__} has no {wanted}'
    return wanted


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

    box(40, 56, 30, f'{argument(HardNegativeRPNHead.loss, "x")}: features of the FPN', DATA, 5)
    box(6, 42, 42, f'{name(HardNegativeRPNHead.forward_with_nrpn)}\nthe stock RPN: objectness, box deltas', RPN)
    box(64, 42, 40, f"{NRPNHead.__name__}\nsees the RPN's convolution, detached", NRPN)
    box(6, 27, 42, f'{mine_candidates.__name__}()\nthe surest anchors, compared with the objects', NRPN)
    box(64, 27, 40, f'{NRPNHead.__name__}: its own losses\nloss_nrpn_cls, loss_nrpn_bbox', NRPN)
    box(64, 13, 40, f'{name(NRPNHead.hardness)}\none logit an anchor', NRPN)
    box(6, 13, 42, f'{name(NRPNSampler.sample)}\nsome negatives hard, the rest at random', RPN)
    box(6, 1, 42, f'{OverlapLoss.__name__} or any other: loss_rpn_cls, loss_rpn_bbox', RPN, 5)
    arrow((48, 56), (30, 49.5))
    arrow((48.5, 45.5), (63.5, 45.5), 'detached', dx=0, dy=1.5, ha='center')
    arrow((27, 41.5), (27, 34.5), f'{argument(NRPNHead.loss_and_hardness, "rpn_outs")}, no gradient', dashed=True)
    arrow(
        (48.5, 30.5),
        (63.5, 30.5),
        '\n'.join((Candidates.__name__, f'{field(Candidates, "is_false")}, {field(Candidates, "is_true")}')),
        dx=0,
        dy=2.4,
        ha='center',
    )
    arrow((84, 41.5), (84, 34.5), "nRPN's objectness")
    arrow((104.5, 44), (104.5, 17), bend=-0.25)
    arrow((63.5, 16.5), (48.5, 16.5), argument(NRPNSampler.sample, 'hardness'), dx=0, dy=1.5, ha='center')
    arrow((5.5, 44), (5.5, 17), bend=0.15)
    axis.text(1.5, 31, 'anchors, assigned', fontsize=8.5, style='italic', rotation=90, va='center')
    arrow((27, 12.5), (27, 6.5), 'drawn anchors')
    axis.text(
        64,
        5.5,
        'blue: in every RPN, and all there is at inference\norange: nRPN, in training alone',
        fontsize=9,
        va='center',
    )
    figure.savefig(path, metadata=dict(Date=None))


if __name__ == '__main__':
    draw(Path(sys.argv[1]))
