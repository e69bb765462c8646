from pathlib import Path
from typing import Dict, List

import numpy as np
from matplotlib.figure import Figure

# told apart in grey, too
STYLES = list(zip(('-', '--', '-.', ':') * 2, 'osv^DPX*', ('', '//', '..', 'xx', '\\\\', '++', 'oo', '--')))
LAYOUT: list = [['recall@0.5', 'recall@0.7', 'false', 'legend'], ['iou@100', 'iou@300', 'iou@1000', 'sizes']]
SIZES = ('small', 'medium', 'large')
BAR_BUDGET = 100


def plot_recall(curves: Dict[str, List[dict]], path: Path) -> None:
    """Draw the recall of several rows: the paper's Fig. 2, with false positives and object sizes beside it.

    Args:
        curves (dict[str, list[dict]]): For each row its seeds' curves, as :class:`~mmdet_nrpn.ProposalMetric` writes
            them. Lines are means over seeds, bands reach from the lowest to the highest seed.
        path (Path): The PNG file.
    """
    figure = Figure(figsize=(17, 8), layout='constrained')
    axes = figure.subplot_mosaic(LAYOUT)
    for number, (name, seeds) in enumerate(curves.items()):
        dash, marker, hatch = STYLES[number % len(STYLES)]
        nums, thrs = np.array(seeds[0]['proposal_nums']), np.array(seeds[0]['iou_thrs'])
        recall = np.array([seed['recall'] for seed in seeds])  # (seeds, thresholds, sizes, budgets)
        lines = {'false': (nums, np.array([seed['false_share'] for seed in seeds]))}
        for thr in (0.5, 0.7):
            lines[f'recall@{thr}'] = (nums, recall[:, np.abs(thrs - thr).argmin(), 0])
        for num in (100, 300, 1000):
            lines[f'iou@{num}'] = (thrs, recall[:, :, 0, np.searchsorted(nums, num)])
        for key, (x, y) in lines.items():
            (line,) = axes[key].plot(x, 100 * y.mean(axis=0), dash, marker=marker, markersize=4, label=name)
            axes[key].fill_between(x, 100 * y.min(axis=0), 100 * y.max(axis=0), color=line.get_color(), alpha=0.15)
        by_size = 100 * recall[:, :, 1:, np.searchsorted(nums, BAR_BUDGET)].mean(axis=1).clip(0)  # (seeds, sizes)
        width = 0.8 / len(curves)
        spread = np.abs([by_size.min(axis=0), by_size.max(axis=0)] - by_size.mean(axis=0))
        place = np.arange(len(SIZES)) + (number - (len(curves) - 1) / 2) * width
        axes['sizes'].bar(place, by_size.mean(axis=0), width, yerr=spread, hatch=hatch, edgecolor='white')

    for key in ('recall@0.5', 'recall@0.7', 'false'):
        axes[key].set(xscale='log', xlabel='proposals per image')
    axes['recall@0.5'].set(ylabel='recall at IoU 0.5, %')
    axes['recall@0.7'].set(ylabel='recall at IoU 0.7, %')
    axes['false'].set(ylabel='false positives among them, %')
    for num in (100, 300, 1000):
        axes[f'iou@{num}'].set(xlabel='IoU', ylabel=f'recall of {num} proposals, %')
    axes['sizes'].set(ylabel=f'AR@{BAR_BUDGET} by size of object, %', xticks=range(len(SIZES)), xticklabels=SIZES)
    for key, axis in axes.items():
        axis.grid(alpha=0.3)
        if key != 'sizes':
            axis.set_ylim(0, 100)
    axes['legend'].axis('off')
    axes['legend'].legend(*axes['false'].get_legend_handles_labels(), loc='center', fontsize='medium')
    figure.savefig(path, dpi=100)
