import re
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import pandas as pd
from mmengine.config import Config
from scipy import stats

from .config_hash import config_hash
from .recall_curves import plot_recall
from .runs import results_in

# in the table, as shares: ProposalMetric's by their column, and what a config's own evaluators are looked at for
COLUMNS = {
    **{name: name for name in ('AR@10', 'AR@100', 'AR@1000')},
    **{'AR_s@100': 'AR small', 'AR_m@100': 'medium', 'AR_l@100': 'large', 'FP@10': 'FP@10', 'FP@100': 'FP@100'},
}
OTHERS = re.compile(r'/\w*(AP50|AP75|mAP|mAP_50|mAP_75|HOTA|MOTA|IDF1)$')
COSTS = {'step_seconds': ('s/step', 2), 'peak_memory_mib': ('MiB', 0)}
CONFIDENCE = 0.95


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
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return float(differences.mean()), float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1) * error)


def report(work_dir: Path, asked: List[Tuple[str, int]], command: str) -> str:
    """Write ``runs.csv`` and ``recall.png`` of the results in a benchmark's folder.

    Args:
        work_dir (Path): Where the results lie.
        asked (list[tuple]): Name and seed of the runs that the table is to have, the baseline first. Others that lie in
            the folder follow.
        command (str): What was called; written beside the results.

    Returns:
        str: The table for a terminal.
    """
    names = [name for name, _ in asked]
    results = sorted(results_in(work_dir), key=lambda result: [*names, result['name']].index(result['name']))
    runs = pd.DataFrame([_line(result, work_dir) for result in results], columns=None if results else ['name', 'seed'])
    about = dict(command=command, **_environment(results))
    with open(work_dir / 'runs.csv', 'w', encoding='utf-8', newline='') as file:
        file.writelines(f'# {key}: {value}\n' for key, value in about.items())
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


def _environment(results: List[dict]) -> dict:
    """What the runs were made with, beside their commit; where it differs, all of it."""
    keys = {key: None for result in results for key in result['environment'] if key != 'commit'}
    return {key: ', '.join(sorted({str(result['environment'].get(key)) for result in results})) for key in keys}


def table(runs: pd.DataFrame, asked: List[Tuple[str, int]]) -> pd.DataFrame:
    """Means over seeds and differences to the baseline, as text.

    Args:
        runs (pd.DataFrame): A run a line, as in ``runs.csv``.
        asked (list[tuple]): As in :func:`report`.

    Returns:
        pd.DataFrame: Only seeds that a row and the baseline have are paired.
    """
    shown = {key: key for key in runs if OTHERS.search(key)}
    shown.update({key: title for key, title in COLUMNS.items() if key in runs})
    by_name = {name: by_seed.set_index('seed').sort_index() for name, by_seed in runs.groupby('name')}
    names = list(dict.fromkeys([*(name for name, _ in asked), *by_name]))
    short = [name.split('_')[0] for name in names]
    labels = dict(zip(names, short if len({*short}) == len(names) else names))
    lines: Dict[str, dict] = {}
    for name in names:
        measured = by_name.get(name, runs[:0].set_index('seed'))
        if len(measured):
            lines[labels[name]] = {title: _mean(measured[key]) for key, title in shown.items()}
            for key, (title, digits) in COSTS.items():
                lines[labels[name]][title] = (
                    f'{measured[key].mean():.{digits}f}' if measured[key].notna().all() else '-'
                )
        missing = sorted({seed for other, seed in asked if other == name} - {*measured.index})
        if missing:
            lines[f'{labels[name]}: seeds {missing} missing'] = {}
    baseline = by_name.get(names[0]) if names else None
    for name in names[1:]:
        paired = [] if baseline is None or name not in by_name else baseline.index.intersection(by_name[name].index)
        if len(paired):
            ours, theirs = by_name[name].loc[paired], baseline.loc[paired]
            lines[f'{labels[name]}, difference'] = {
                title: _difference(ours[key], theirs[key]) for key, title in shown.items()
            }
    return pd.DataFrame(lines).T.fillna('-')


def _is_measured(values: pd.Series) -> bool:
    """Not where there is no object of a size (-1), or where another row has an evaluator of its own."""
    return bool(values.notna().all() and (values >= 0).all())


def _mean(values: pd.Series) -> str:
    if not _is_measured(values):
        return '-'
    return f'{100 * values.mean():.1f}' + (f' ± {100 * values.std():.1f}' if len(values) > 1 else '')


def _difference(ours: pd.Series, theirs: pd.Series) -> str:
    if not (_is_measured(ours) and _is_measured(theirs)):
        return '-'
    mean, half = paired_difference(ours.to_numpy(), theirs.to_numpy())
    return f'{100 * mean:+.1f}' + ('' if half is None else f' ± {100 * half:.1f}')
