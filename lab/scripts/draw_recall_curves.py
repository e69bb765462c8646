"""Draw average recall and false positives over the number of proposals, of RPNs and of methods without a network.

python lab/scripts/draw_recall_curves.py docs/images/recall_curves.png
"""

import argparse
import re
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
from benchmark.report import STYLES

RESULTS = Path(__file__).resolve().parents[2] / 'docs' / 'results' / 'whole'
ROWS = ('nrpn-focal', 'rpn-focal', 'paper-nrpn', 'rpn', 'bing', 'selective-search')
PANELS = {'AR': 'average recall, %', 'FP': 'false positives among them, %'}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='PNG file')
    args = parser.parse_args()
    runs = pd.concat([pd.read_csv(RESULTS / name, comment='#') for name in ('runs.csv', 'other_proposals.csv')])
    means = 100 * runs.groupby('name').mean(numeric_only=True)
    figure = Figure(figsize=(8, 3.6), layout='constrained')
    for axis, (metric, title) in zip(figure.subplots(1, 2), PANELS.items()):
        nums = sorted(int(found[1]) for key in means if (found := re.fullmatch(rf'{metric}@(\d+)', key)))
        for name, (dash, marker, _) in zip(ROWS, STYLES):
            axis.plot(nums, means.loc[name, [f'{metric}@{num}' for num in nums]], dash, marker=marker, label=name)
        axis.set(xscale='log', xlabel='proposals per image', ylabel=title, xticks=nums, xticklabels=nums)
        axis.set_ylim(bottom=0)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=3)
    figure.savefig(args.out, dpi=100)
    Image.open(args.out).convert('RGB').quantize(64).save(args.out, optimize=True)  # a third of the bytes


if __name__ == '__main__':
    main()
