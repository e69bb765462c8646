"""Tables and differences of the pages, from the results' CSVs: cogapp runs what stands in a page's markers.

make tables
"""

from pathlib import Path
from typing import Mapping, Sequence

import pandas as pd
from scipy import stats

RESULTS = Path(__file__).resolve().parents[1] / 'docs' / 'results'
HEADS = {'AR_s@100': 'AR small', 'AR_m@100': 'medium'}
README = {'rpn': ': stock', 'rpn-focal': ': focal loss', 'nrpn-focal': ': and ranking with an nRPN'}
SHORT = ('AR@10', 'AR@100', 'FP@10', 'FP@100')
DETECTIONS = ('mAP', 'FP/100')
BACKGROUND = [f'{classes}: {what}' for classes in ('dog, horse', 'person', 'vehicles') for what in ('mAP', 'empty')]
HEADS |= {head: 'empty' for head in BACKGROUND[1::2]}
LONG = ('AR@10', 'AR@100', 'AR_s@100', 'AR_m@100', 'FP@10', 'FP@100')


def means(file: str, rows: Sequence[str], metrics: Sequence[str] = LONG, notes: Mapping[str, str] = {}) -> None:
    """Print a table: mean and standard deviation over seeds."""
    measured = _percent(file)
    print(f'\n| % | {" | ".join(HEADS.get(metric, metric) for metric in metrics)} |')
    print(f'| --- |{" ---: |" * len(metrics)}')
    for name in rows:
        cells = ' | '.join(_mean(measured.loc[name, metric]) for metric in metrics)
        print(f'| `{name}`{notes.get(name, "")} | {cells} |')


def differences(file: str, pairs: Sequence[tuple], metrics: Sequence[str] = SHORT) -> None:
    """Print a list: each first row against the second, seed by seed, with the 95 % interval of Student's t."""
    measured = _percent(file)
    print()
    for ours, theirs in pairs:
        print(f'- `{ours}` against `{theirs}`: {_difference(measured.loc[ours], measured.loc[theirs], metrics)}')


def folds(file: str, pairs: Sequence[tuple], metrics: Sequence[str] = SHORT) -> None:
    """Print a list: each row folded by a factor, against the same checkpoints as they were."""
    measured = _percent(file)
    print()
    for name, fold in pairs:
        change = _difference(measured.loc[name, fold], measured.loc[name, 0], metrics)
        print(f'- `{name}` folded by {fold}: {change}')


def readme() -> None:
    """Print README's table and the sentence that says what it shows."""
    file = 'whole/runs.csv'
    means(file, [*README], SHORT, README)
    measured = _percent(file).groupby('name').mean()
    fewer = 100 * (1 - measured.loc['nrpn-focal'] / measured.loc['rpn-focal'])
    print(
        f'\n**Against focal loss: {fewer["FP@10"]:.0f} % fewer false positives in the top 10, '
        f'{fewer["FP@100"]:.0f} % in the top 100.**'
    )


def _percent(file: str) -> pd.DataFrame:
    """What each run measured, by name and seed; of a sweep, by name, factor and seed."""
    table = pd.read_csv(RESULTS / file, comment='#')
    keys = [key for key in ('name', 'fold', 'seed') if key in table]
    return 100 * table.set_index(keys).sort_index().select_dtypes('number')


def _mean(values: pd.Series) -> str:
    return f'{values.mean():.1f} ± {values.std():.1f}' if len(values) > 1 else f'{values.iloc[0]:.1f}'


def _difference(ours: pd.DataFrame, theirs: pd.DataFrame, metrics: Sequence[str]) -> str:
    parts = []
    for metric in metrics:
        by_seed = (ours[metric] - theirs[metric]).dropna()
        text = f'{metric} {by_seed.mean():+.1f}'
        if len(by_seed) > 1:
            low, high = stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
            text += f' ± {(high - low) / 2:.1f}'
        parts.append(text)
    return ', '.join(parts)
