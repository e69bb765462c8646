"""Train configs over seeds, measure their proposals, and tell what the difference is worth.

    python tools/benchmark.py STOCK_CONFIG OTHER_CONFIG ... --work-dir work_dirs/mine --seeds 0 1

The first config is the baseline of the differences. Runs with equal seeds have the same schedule, data order and
initial weights. Finished runs are not repeated; an interrupted one goes on from its last checkpoint.
"""

import argparse
import platform
import subprocess
import sys
from pathlib import Path

import mmcv
import mmdet
import mmengine
import torch

import mmdet_nrpn
from mmdet_nrpn.benchmark import Run, report


def environment() -> dict:
    commit = subprocess.run(
        ['git', 'describe', '--always', '--dirty'], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads'
    return dict(
        command=' '.join(['python', *sys.argv]),
        commit=commit.stdout.strip() or 'unknown',
        device=device,
        python=platform.python_version(),
        **{m.__name__: m.__version__ for m in (torch, mmengine, mmcv, mmdet, mmdet_nrpn)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', type=Path, nargs='+', help='config files; the first is the baseline')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='default: %(default)s')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'), help='default: %(default)s')
    args = parser.parse_args()

    runs = [Run(config, seed, args.work_dir) for seed in args.seeds for config in args.configs]
    failed = False
    for number, run in enumerate(runs, 1):
        title = f'run {number} of {len(runs)}: {run.name}, seed {run.seed}'
        if run.prepare():
            print(f'\n=== {title}: finished before', flush=True)
            continue
        print(f'\n=== {title}', flush=True)
        try:
            run.execute()
        except RuntimeError as error:
            print(error, file=sys.stderr)
            failed = True
    table = report(runs, args.work_dir, environment())
    print(f'\n{table}\n\ntables, results and figure: {args.work_dir}/table.md, results.json, recall.png')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
