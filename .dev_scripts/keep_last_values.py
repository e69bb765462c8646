"""Keep what trainings and tests measured at their end, a line each, and print the table that a page of docs has of it.

    python .dev_scripts/keep_last_values.py work_dirs/tracking docs/results/tracking.csv HOTA MOTA IDF1

They lie in work_dirs/tracking/NAME/seed0, or NAME-0. Of each the last value that MMEngine logged is taken.
"""

import argparse
import json
import re
from pathlib import Path

import pandas as pd


def last_values(work_dir: Path) -> pd.DataFrame:
    """A row per run, a column per metric by its name's last part; a teacher's, where a student has one, too."""
    rows = {}
    # of a run at TIME, a training writes TIME/vis_data/scalars.json, and a test TIME/TIME.json
    logs = {log: log.parents[2] for log in work_dir.glob('**/vis_data/scalars.json')}
    logs.update({log: log.parents[1] for log in work_dir.glob('**/*.json') if log.stem == log.parent.name})
    for log, folder in sorted(logs.items()):
        name, seed = re.fullmatch(r'(.+?)[/-](?:seed)?(\d+)', str(folder.relative_to(work_dir))).groups()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        measured = [line for line in lines if any('/' in key for key in line)]
        if not measured:  # of a training that was ended before, or is under way
            print(f'{log} has no value yet')
            continue
        # the teacher's come first in the log, and last here
        rows[name, int(seed)] = {
            key.split('/')[-1]: value for key, value in reversed(measured[-1].items()) if '/' in key
        }
    if not rows:
        raise SystemExit(f'{work_dir} has no run that ended')
    return pd.DataFrame.from_dict(rows, orient='index').rename_axis(['name', 'seed'])


def table(values: pd.DataFrame) -> str:
    """Markdown: mean and standard deviation over the seeds of each name. Shares are in %."""
    values = values.select_dtypes('number')
    values = values.assign(**{name: 100 * values[name] for name in values if (values[name].abs() <= 1).all()})
    lines = [f'| | seeds | {" | ".join(values)} |', '| --- |' + ' ---: |' * (1 + len(values.columns))]
    for name, rows in values.groupby('name', sort=False):
        spread = [f' ± {value:.1f}' if len(rows) > 1 else '' for value in rows.std()]
        cells = [f'{mean:.1f}{sd}' for mean, sd in zip(rows.mean(), spread)]
        lines.append(f'| `{name}` | {len(rows)} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('out', type=Path, help='CSV file')
    parser.add_argument('metrics', nargs='+')
    args = parser.parse_args()
    values = last_values(args.work_dir)[args.metrics]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    values.to_csv(args.out, float_format='%.5g', lineterminator='\n')
    print(table(values))


if __name__ == '__main__':
    main()
