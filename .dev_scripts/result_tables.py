"""Tables and differences of the pages, from the results' CSVs: cogapp runs what stands in a page's markers.

make tables
"""

from pathlib import Path
from typing import Dict, List

import pandas as pd
from scipy import stats

RESULTS = Path(__file__).resolve().parents[1] / 'docs' / 'results'
HEADS = {'AR_s@100': 'AR small', 'AR_m@100': 'medium', 'AR_l@100': 'large'}
SHORT = ('AR@10', 'AR@100', 'FP@10', 'FP@100')
LONG = ('AR@10', 'AR@100', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'FP@10', 'FP@100')


def runs(file: str) -> pd.DataFrame:
    """What each run measured, in percent, by name and seed; a sweep's by the factor, too."""
    table = pd.read_csv(RESULTS / file, comment='#')
    table = table.set_index([key for key in ('name', 'fold', 'seed') if key in table])
    return 100 * table.select_dtypes('number')


def means(file: str, rows: Dict[str, str], metrics=LONG) -> None:
    """Print a table: mean and standard deviation over seeds. ``rows`` says what is written beside a row's name."""
    measured = runs(file)
    print(f'\n| % | {" | ".join(HEADS.get(metric, metric) for metric in metrics)} |')
    print(f'| --- |{" ---: |" * len(metrics)}')
    for name, is_what in rows.items():
        cells = [_mean(measured.loc[name, metric]) for metric in metrics]
        print(f'| `{name}`{is_what and ": "}{is_what} | {" | ".join(cells)} |')
    print()


def differences(file: str, pairs: List[tuple], metrics=SHORT) -> None:
    """Print a list: each first row against the second, seed by seed, with the 95 % interval of Student's t."""
    measured = runs(file)
    print()
    for ours, theirs in pairs:
        print(f'- `{ours}` against `{theirs}`: {_difference(measured.loc[ours], measured.loc[theirs], metrics)}')
    print()


def folds(file: str, pairs: List[tuple], metrics=SHORT) -> None:
    """Print a list: each row folded by the factor, against the same checkpoints as they were."""
    measured = runs(file)
    print()
    for name, fold in pairs:
        change = _difference(measured.loc[name, fold], measured.loc[name, 0], metrics)
        print(f'- `{name}` by {fold}: {change}')
    print()


def fewer(file: str, ours: str, theirs: str) -> str:
    """How many fewer false positives the first row has, relative to the second, in the top 10 and the top 100."""
    measured = runs(file)
    shares = [measured.loc[ours, key].mean() / measured.loc[theirs, key].mean() for key in ('FP@10', 'FP@100')]
    return ' and '.join(f'{100 * (1 - share):.0f} %' for share in shares)


def _mean(values: pd.Series) -> str:
    return f'{values.mean():.1f} ± {values.std():.1f}' if len(values) > 1 else f'{values.iloc[0]:.1f}'


def _difference(ours: pd.DataFrame, theirs: pd.DataFrame, metrics) -> str:
    parts = []
    for metric in metrics:
        by_seed = (ours[metric] - theirs[metric]).dropna()
        interval = ''
        if len(by_seed) > 1:
            low, high = stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
            interval = f' ± {(high - low) / 2:.1f}'
        parts.append(f'{metric} {by_seed.mean():+.1f}{interval}')
    return ', '.join(parts)
