import csv
import io
import json
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
from mmengine.config import Config
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from .config_hash import config_hash
from .recall_curves import plot_recall
from .runs import results_in

# metric, column, whether more is better; in percent
COLUMNS = (
    ('AR@10', 'AR@10'),
    ('AR@100', 'AR@100'),
    ('AR@1000', 'AR@1000'),
    ('AR_s@100', 'AR small'),
    ('AR_m@100', 'medium'),
    ('AR_l@100', 'large'),
    ('FP@10', 'FP@10'),
    ('FP@100', 'FP@100'),
)
COSTS = (('step_seconds', 2), ('peak_memory_mib', 0))
CONFIDENCE = 0.95


def mean_and_spread(values: List[float]) -> Tuple[float, Optional[float]]:
    """Mean and sample standard deviation, None for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


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


def summarise(results: List[dict], asked: List[Tuple[str, int]]) -> List[dict]:
    """A row for each name; those that were asked for first, of which the first is the baseline.

    Args:
        results (list[dict]): Of finished runs, each with ``name``, ``seed`` and ``metrics``.
        asked (list[tuple]): Name and seed of the runs that the table is to have.

    Returns:
        list[dict]: Means and spreads by metric; only seeds that a row and the baseline have are paired.
    """
    by_name: Dict[str, Dict[int, dict]] = {name: {} for name, _ in asked}
    for result in results:
        by_name.setdefault(result['name'], {})[result['seed']] = result
    baseline = next(iter(by_name.values()))
    rows = []
    for name, by_seed in by_name.items():
        missing = sorted({seed for other, seed in asked if other == name} - set(by_seed))
        row = dict(name=name, seeds=sorted(by_seed), missing=missing)
        paired = [seed for seed in row['seeds'] if seed in baseline]
        for key in _measured(by_seed):
            row[key] = mean_and_spread([by_seed[seed]['metrics'][key] for seed in row['seeds']])
            if paired:
                row[f'difference {key}'] = paired_difference(
                    [by_seed[seed]['metrics'][key] for seed in paired],
                    [baseline[seed]['metrics'][key] for seed in paired],
                )
        for key, _ in COSTS:
            if by_seed and all(key in result for result in by_seed.values()):
                row[key] = mean_and_spread([result[key] for result in by_seed.values()])
        rows.append(row)
    return rows


def _measured(by_seed: Dict[int, dict]) -> List[str]:
    """Metrics of a row, without those of a size of object that there is none of (-1)."""
    if not by_seed:
        return []
    metrics = next(iter(by_seed.values()))['metrics']
    return [key for key, value in metrics.items() if value >= 0]


def _percent(value: Optional[Tuple[float, Optional[float]]], signed: bool = False) -> str:
    if value is None:
        return '-'
    mean, spread = value
    return f'{100 * mean:{"+" if signed else ""}.1f}' + (f' ± {100 * spread:.1f}' if spread is not None else '')


def cells(rows: List[dict]) -> Tuple[List[str], List[List[str]]]:
    """Header and body of the table, as text."""
    header = ['%', *(title for _, title in COLUMNS), 's/step', 'MiB']
    body = []
    short = [row['name'].split('_')[0] for row in rows]
    labels = dict(
        zip([row['name'] for row in rows], short if len({*short}) == len(short) else [r['name'] for r in rows])
    )
    for row in rows:
        label = labels[row['name']]
        if row['seeds']:
            costs = [f'{row[key][0]:.{digits}f}' if key in row else '-' for key, digits in COSTS]
            body.append([label, *(_percent(row.get(key)) for key, _ in COLUMNS), *costs])
        if row['missing']:
            body.append([f'{label}: seeds {row["missing"]} missing', *['-'] * (len(header) - 1)])
    for row in rows[1:]:
        if any(f'difference {key}' in row for key, _ in COLUMNS):
            differences = [_percent(row.get(f'difference {key}'), signed=True) for key, _ in COLUMNS]
            body.append([f'{labels[row["name"]]}, difference', *differences, '', ''])
    return header, body


def report(work_dir: Path, asked: List[Tuple[str, int]], command: str) -> str:
    """Write the tables and the figure of the results in a benchmark's folder.

    Args:
        work_dir (Path): Where the results lie, and ``table.md``, ``table.txt``, ``runs.csv``,
            ``results.json`` and ``recall.png`` go.
        asked (list[tuple]): Name and seed of the runs that the table is to have, the baseline first. Others that lie in
            the folder follow.
        command (str): What was called; written beside the results.

    Returns:
        str: The table for a terminal.
    """
    results = results_in(work_dir)
    rows = summarise(results, asked)
    header, body = cells(rows)
    seeds = sorted({seed for _, seed in asked} | {result['seed'] for result in results})
    note = (
        f'{len(seeds)} seed(s) {seeds}: mean ± standard deviation; differences seed by seed from the first row, '
        f'± {CONFIDENCE:.0%} confidence interval'
        + (' (none from one seed)' if len(seeds) == 1 else '')
        + '. AR by size is at 100 proposals; FP is the share of false positives in the top N.'
    )
    lines = [header, ['---', *['---:'] * (len(header) - 1)], *body]
    markdown = '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
    environment = dict(command=command, **_environment(results))
    about = '\n'.join(f'- {key}: `{value}`' for key, value in environment.items())
    (work_dir / 'table.md').write_text(f'{markdown}\n\n{note}\n\n{about}\n', encoding='utf-8')
    curves: Dict[str, List[dict]] = {row['name']: [] for row in rows if row['seeds']}
    for result in results:
        curves[result['name']].append(result.pop('curves'))
    plot_recall(curves, work_dir / 'recall.png')
    content = dict(environment=environment, rows=rows, runs=results)
    (work_dir / 'results.json').write_text(json.dumps(content, indent=1), encoding='utf-8')
    _write_runs(work_dir, environment, results)
    text = _render(header, body) + note
    (work_dir / 'table.txt').write_text(text + '\n', encoding='utf-8')
    return text


def _write_runs(work_dir: Path, environment: dict, results: List[dict]) -> None:
    """A line per run, after the lines of the environment, which begin with #: what is kept of a table for good."""
    metrics = list(dict.fromkeys(key for result in results for key in result['metrics']))
    with open(work_dir / 'runs.csv', 'w', encoding='utf-8', newline='') as file:
        file.writelines(f'# {key}: {value}\n' for key, value in environment.items() if key != 'commit')
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['name', 'config', 'config_hash', 'seed', 'commit', *(key for key, _ in COSTS), *metrics])
        for result in results:
            config = work_dir / result['name'] / f'seed{result["seed"]}.py'
            trained = config_hash(Config.fromfile(config, import_custom_modules=False)) if config.exists() else ''
            costs = [f'{result[key]:.4g}' if key in result else '' for key, _ in COSTS]
            values = [f'{result["metrics"][key]:.6g}' if key in result['metrics'] else '' for key in metrics]
            names = [result['name'], result['config'], trained, result['seed'], result['environment'].get('commit')]
            writer.writerow([*names, *costs, *values])


def _environment(results: List[dict]) -> dict:
    """What the runs were made with; where it differs, all of it."""
    keys = {key: None for result in results for key in result['environment']}
    return {
        key: ', '.join(sorted({str(result['environment'].get(key)) for result in results}))
        for key in keys
        if key != 'command'
    }


def _render(header: List[str], body: List[List[str]]) -> str:
    table = Table(*header, box=box.ASCII)
    for row in body:
        table.add_row(*row)
    console = Console(width=160, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()
