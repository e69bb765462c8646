"""Keep what docs need of a benchmark's folder: its table, a line per training, and a line per factor of each sweep.

    python .dev_scripts/keep_results.py work_dirs/frontier docs/results/lab/frontier

A sweep is what tools/fold/sweep.py wrote with --out work_dirs/frontier/NAME/seedS/fold.png, of the nRPN
that was trained or that tools/fold/fit.py fitted.
"""

import argparse
import csv
import json
import shutil
from pathlib import Path

HEADER = (
    '# command: python tools/fold/sweep.py, of the last checkpoint of each run; where that has no nRPN, '
    'of what tools/fold/fit.py made of it\n'
)
METRICS = ('AR@10', 'AR@100', 'AR@1000', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'FP@10', 'FP@100')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ('table.md', 'runs.csv'):
        shutil.copy(args.work_dir / name, args.out)
    sweeps = sorted(args.work_dir.glob('*/seed*/fold.json'))
    if sweeps:
        with open(args.out / 'fold.csv', 'w', newline='') as file:
            file.write(HEADER)
            table = csv.writer(file, lineterminator='\n')
            table.writerow(['name', 'seed', 'fold', *METRICS])
            for sweep in sweeps:
                name, seed = sweep.parts[-3], sweep.parts[-2].removeprefix('seed')
                for fold, metrics in json.loads(sweep.read_text()).items():
                    table.writerow([name, seed, fold, *(round(metrics[metric], 6) for metric in METRICS)])
    print(f'{args.out}: table.md, runs.csv' + (f', fold.csv of {len(sweeps)} sweeps' if sweeps else ''))


if __name__ == '__main__':
    main()
