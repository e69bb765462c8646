import re
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mmengine.config import Config
from scipy import stats

from .config_hash import config_hash
from .runs import results_in

# in the table, as shares: ProposalMetric's by their column, and what a config's own evaluators are looked at for
SIZES = {'AR_s@100': 'small', 'AR_m@100': 'medium', 'AR_l@100': 'large'}
COLUMNS = {name: SIZES.get(name, name) for name in ('AR@10', 'AR@100', 'AR@1000', *SIZES, 'FP@10', 'FP@100')}
COLUMNS['AR_s@100'] = 'AR small'
OTHERS = re.compile(r'/\w*(AP50|AP75|mAP|mAP_50|mAP_75|HOTA|MOTA|IDF1)$|^froc/(mean_recall|LAMR)(@|$)')
COSTS = {'step_seconds': ('s/step', 2), 'peak_memory_mib': ('MiB', 0)}
CONFIDENCE = 0.95
CURVES = {
    r'recall@(\d+)@0.5': 'recall at IoU 0.5, %',
    r'recall@(\d+)@0.7': 'recall at IoU 0.7, %',
    r'FP@(\d+)': 'false positives among them, %',
}
# told apart in grey, too
STYLES = list(zip(('-', '--', '-.', ':') * 2, 'osv^DPX*', ('', '//', '..', 'xx', '\\\\', '++', 'oo', '--')))


def paired_difference(values: List[float], baseline: List[float]) -> Tuple[float, Optional[float]]:
    """Mean of the differences seed by seed, and half the width of its 95 % confidence interval (Student's t).

    Example:
        >>> mean, half = paired_difference([2.0, 4.0], [1.0, 1.0])  # differences 1 and 3: sd = sqrt(2), t = 12.706
        >>> mean, round(half, 3)
        (2.0, 12.706)
    """
    differences = np.subtract(values, baseline)
    if len(differences) < 2:
        return float(differences.mean()), None
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1) * stats.sem(differences)
    return float(differences.mean()), float(half)


def report(work_dir: Path, asked: List[Tuple[str, int]], command: str) -> str:
    """Write ``runs.csv`` and ``recall.png`` of the results in a folder, and return the table for a terminal.

    ``asked`` is name and seed of the runs that the table is to have, the baseline first; others that lie in the folder
    follow. ``command`` is written beside the results.
    """
    names = [name for name, _ in asked]
    results = sorted(results_in(work_dir), key=lambda result: [*names, result['name']].index(result['name']))
    runs = pd.DataFrame([_line(result, work_dir) for result in results], columns=None if results else ['name', 'seed'])
    made_with = [result['environment'] for result in results]
    about = {key: {str(of_run.get(key)) for of_run in made_with} for of_run in made_with for key in of_run}
    about.pop('commit', None)  # each run has its own
    with open(work_dir / 'runs.csv', 'w', encoding='utf-8', newline='') as file:
        file.write(f'# command: {command}\n')
        file.writelines(f'# {key}: {", ".join(sorted(values))}\n' for key, values in about.items())
        runs.to_csv(file, index=False, float_format='%.6g')
    if 'AR@100' in runs:
        plot_recall(runs.dropna(subset='AR@100'), work_dir / 'recall.png')
    seeds = sorted({seed for _, seed in asked} | {*runs['seed']})
    return (
        f'{table(runs, asked).to_string()}\n\n%, {len(seeds)} seed(s) {seeds}: mean ± standard deviation; differences '
        f'seed by seed from the first row, ± {CONFIDENCE:.0%} confidence interval'
        + (' (none from one seed)' if len(seeds) == 1 else '')
        + '. AR by size is at 100 proposals; FP is the share of false positives in the top N.'
    )


def _line(result: dict, work_dir: Path) -> dict:
    config = work_dir / result['name'] / f'seed{result["seed"]}.py'
    return dict(
        name=result['name'],
        config=result['config'],
        config_hash=config_hash(Config.fromfile(config, import_custom_modules=False)) if config.exists() else '',
        seed=result['seed'],
        commit=result['environment'].get('commit'),
        **{key: result.get(key, np.nan) for key in COSTS},
        **{key.removeprefix('proposal/'): value for key, value in result['metrics'].items()},
    )


def table(runs: pd.DataFrame, asked: List[Tuple[str, int]]) -> pd.DataFrame:
    """Means over seeds of the runs in ``runs.csv``, and differences to the baseline over the seeds of both, as text."""
    shown = {key: key for key in runs if OTHERS.search(key)}
    shown.update({key: title for key, title in COLUMNS.items() if key in runs})
    names = list(dict.fromkeys([*(name for name, _ in asked), *sorted(runs['name'])]))
    short = [name.split('_')[0] for name in names]
    labels = dict(zip(names, short if len({*short}) == len(names) else names))
    measured = runs.assign(**{key: runs[key].where(runs[key] != -1) for key in shown})  # -1: no object of a size
    by_name = {name: measured[measured['name'] == name].set_index('seed').sort_index() for name in names}
    lines: Dict[str, dict] = {}
    for name, ours in by_name.items():
        if len(ours):
            costs = {title: (ours[key].mean(skipna=False), digits) for key, (title, digits) in COSTS.items()}
            lines[labels[name]] = {
                **{title: _text(ours[key].mean(skipna=False), ours[key].std()) for key, title in shown.items()},
                **{title: '-' if np.isnan(mean) else f'{mean:.{digits}f}' for title, (mean, digits) in costs.items()},
            }
        if missing := sorted({seed for other, seed in asked if other == name} - {*ours.index}):
            lines[f'{labels[name]}: seeds {missing} missing'] = {}
    for name in names[1:]:
        ours, theirs = by_name[name].align(by_name[names[0]], join='inner', axis=0)
        if len(ours):
            lines[f'{labels[name]}, difference'] = {
                title: _text(*paired_difference(ours[key].to_numpy(), theirs[key].to_numpy()), '+')
                for key, title in shown.items()
            }
    return pd.DataFrame(lines).T.fillna('-')


def _text(mean: float, spread: Optional[float], sign: str = '') -> str:
    """In percent; a dash where there is no object of a size, or where another row has an evaluator of its own."""
    if np.isnan(mean):
        return '-'
    return f'{100 * mean:{sign}.1f}' + ('' if spread is None or np.isnan(spread) else f' ± {100 * spread:.1f}')


def plot_recall(runs: pd.DataFrame, path: Path) -> None:
    """Draw the recall of several rows over the number of proposals, as the paper's Fig. 2, and by size of object.

    Lines are means over the seeds of ``runs``, a run a line; bands reach from the lowest to the highest seed.
    """
    figure = Figure(figsize=(17, 4.5), layout='constrained')
    axes = figure.subplots(1, 4)
    by_name = (100 * runs.set_index('name').select_dtypes('number').clip(lower=0)).groupby('name', sort=False)
    means, lowest, highest = by_name.mean(), by_name.min(), by_name.max()
    width = 0.8 / len(means)
    for number, name in enumerate(means.index):
        dash, marker, hatch = STYLES[number % len(STYLES)]
        for axis, (pattern, title) in zip(axes, CURVES.items()):
            nums, keys = zip(*sorted((int(found[1]), key) for key in runs if (found := re.fullmatch(pattern, key))))
            mean, low, high = (of_rows.loc[name, [*keys]] for of_rows in (means, lowest, highest))
            (line,) = axis.plot(nums, mean, dash, marker=marker, markersize=4, label=name)
            axis.fill_between(nums, low, high, color=line.get_color(), alpha=0.15)
            axis.set(xscale='log', xlabel='proposals per image', ylabel=title, ylim=(0, 100))
        mean, low, high = (of_rows.loc[name, [*SIZES]] for of_rows in (means, lowest, highest))
        place = np.arange(len(SIZES)) + (number - (len(means) - 1) / 2) * width
        axes[3].bar(place, mean, width, yerr=[mean - low, high - mean], hatch=hatch, edgecolor='white', label=name)
    axes[3].set(ylabel='AR@100 by size of object, %', xticks=range(len(SIZES)), xticklabels=SIZES.values())
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=4)
    figure.savefig(path, dpi=100)
