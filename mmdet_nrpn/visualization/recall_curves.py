from pathlib import Path
from typing import Dict, List

import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt

# told apart in grey, too
STYLES = [(dash, marker) for dash, marker in zip(('-', '--', '-.', ':') * 2, 'osv^DPX*')]


def plot_recall(curves: Dict[str, List[dict]], path: Path) -> None:
    """Draw recall as the paper's Fig. 2 does, with the share of false positives beside it.

    Args:
        curves (dict[str, list[dict]]): For each row its seeds' curves, as :class:`~mmdet_nrpn.ProposalMetric` writes
            them. Lines are means over seeds, bands reach from the lowest to the highest seed.
        path (Path): PNG or SVG file to write.
    """
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout='constrained')
    for (name, seeds), (dash, marker) in zip(curves.items(), STYLES):
        nums, thrs = np.array(seeds[0]['proposal_nums']), np.array(seeds[0]['iou_thrs'])
        recall = np.array([seed['recall'] for seed in seeds])[:, :, 0]  # (seeds, thresholds, budgets), all sizes
        false = np.array([seed['false_share'] for seed in seeds])
        lines = [
            (nums, recall[:, np.abs(thrs - 0.5).argmin()]),
            (nums, recall[:, np.abs(thrs - 0.7).argmin()]),
            (thrs, recall[:, :, np.searchsorted(nums, 100)]),
            (nums, false),
        ]
        for axis, (x, y) in zip(axes.flat, lines):
            (line,) = axis.plot(x, 100 * y.mean(axis=0), dash, marker=marker, markersize=4, label=name)
            axis.fill_between(x, 100 * y.min(axis=0), 100 * y.max(axis=0), color=line.get_color(), alpha=0.15)
    labels = [
        ('proposals a picture', 'recall at IoU 0.5, %'),
        ('proposals a picture', 'recall at IoU 0.7, %'),
        ('IoU', 'recall of 100 proposals, %'),
        ('proposals a picture', 'false positives among them, %'),
    ]
    for axis, (x, y) in zip(axes.flat, labels):
        axis.set(xlabel=x, ylabel=y, ylim=(0, 100))
        axis.grid(alpha=0.3)
        if x != 'IoU':
            axis.set_xscale('log')
    axes[0, 0].legend(fontsize='small')
    figure.savefig(path, dpi=120)
    plt.close(figure)
