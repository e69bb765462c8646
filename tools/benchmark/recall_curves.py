import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

# told apart in grey, too
STYLES = list(zip(('-', '--', '-.', ':') * 2, 'osv^DPX*', ('', '//', '..', 'xx', '\\\\', '++', 'oo', '--')))
CURVES = {
    r'recall@(\d+)@0.5': 'recall at IoU 0.5, %',
    r'recall@(\d+)@0.7': 'recall at IoU 0.7, %',
    r'FP@(\d+)': 'false positives among them, %',
}
SIZES = {'AR_s@100': 'small', 'AR_m@100': 'medium', 'AR_l@100': 'large'}


def plot_recall(runs: pd.DataFrame, path: Path) -> None:
    """Draw the recall of several rows over the number of proposals, as the paper's Fig. 2, and by size of object.

    Args:
        runs (pd.DataFrame): A run a line, as in ``runs.csv``. Lines are means over seeds, bands reach from the lowest
            to the highest seed.
        path (Path): The PNG file.
    """
    figure = Figure(figsize=(17, 4.5), layout='constrained')
    axes = figure.subplots(1, 4)
    groups = dict([*runs.groupby('name', sort=False)])
    for number, (name, by_seed) in enumerate(groups.items()):
        dash, marker, hatch = STYLES[number % len(STYLES)]
        for axis, (pattern, title) in zip(axes, CURVES.items()):
            columns = {int(found[1]): key for key in runs if (found := re.fullmatch(pattern, key))}
            nums, values = sorted(columns), 100 * by_seed[[columns[num] for num in sorted(columns)]].to_numpy(float)
            (line,) = axis.plot(nums, values.mean(axis=0), dash, marker=marker, markersize=4, label=name)
            axis.fill_between(nums, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15)
            axis.set(xscale='log', xlabel='proposals per image', ylabel=title, ylim=(0, 100))
        of_size = 100 * by_seed[[*SIZES]].to_numpy(float).clip(0)
        width = 0.8 / len(groups)
        spread = np.abs([of_size.min(axis=0), of_size.max(axis=0)] - of_size.mean(axis=0))
        place = np.arange(len(SIZES)) + (number - (len(groups) - 1) / 2) * width
        axes[3].bar(place, of_size.mean(axis=0), width, yerr=spread, hatch=hatch, edgecolor='white', label=name)
    axes[3].set(ylabel='AR@100 by size of object, %', xticks=range(len(SIZES)), xticklabels=SIZES.values())
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=4)
    figure.savefig(path, dpi=100)
