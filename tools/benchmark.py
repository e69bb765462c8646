"""Train configs over seeds, measure their proposals, and tell what the difference is worth.

    python tools/benchmark.py                                           # the paper's rows and the peers, on shapes
    python tools/benchmark.py STOCK_CONFIG OTHER_CONFIG --seeds 0 1 2   # yours
    python tools/benchmark.py --dry-run                                 # what would be run, and for how long
    python tools/benchmark.py CONFIG CONFIG --checkpoints A.pth B.pth   # only measure

The first config is the baseline of the differences. Runs with equal seeds have the same schedule, data order and
initial weights. Finished runs are not repeated; an interrupted one goes on from its last checkpoint; one that fails is
reported in the table.
"""

import argparse
import logging
import platform
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import mmcv
import mmdet
import mmengine
import torch

import mmdet_nrpn
from mmdet_nrpn.benchmark import Plan, Run, check, report

ROOT = Path(__file__).parents[1]
ROWS = ('rpn', 'rpn-overlap', 'nrpn', 'nrpn-overlap', 'rpn-focal', 'rpn-rank', 'nrpn-rank')
DEFAULT = [ROOT / 'configs' / 'nrpn' / f'{row}_r18-w16_fpn_demo_shapes.py' for row in ROWS]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs', type=Path, nargs='*', default=DEFAULT, help='config files; the first is the baseline'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1], help='default: 0 1')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'), help='default: %(default)s')
    parser.add_argument(
        '--only', nargs='+', metavar='NAME', help='only configs whose name starts so, up to the first _'
    )
    parser.add_argument('--checkpoints', type=Path, nargs='+', help='one a config: measure them, train nothing')
    parser.add_argument('--rerun', action='store_true', help='repeat finished runs; earlier ones are moved aside')
    parser.add_argument('--dry-run', action='store_true', help='print the plan and its time, and run nothing')
    args = parser.parse_args()
    if args.only:
        args.configs = [config for config in args.configs if config.stem.split('_')[0] in args.only]
        if not args.configs:
            parser.error(f'--only {" ".join(args.only)} leaves no config; names are {", ".join(ROWS)}')
    if args.checkpoints and len(args.checkpoints) != len(args.configs):
        parser.error(f'{len(args.checkpoints)} checkpoints for {len(args.configs)} configs; give one a config')
    missing = [path for path in [*args.configs, *(args.checkpoints or [])] if not path.exists()]
    if missing:
        parser.error(f'{missing[0]} is not there')
    return args


def environment() -> dict:
    commit = subprocess.run(['git', 'describe', '--always', '--dirty'], cwd=ROOT, capture_output=True, text=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads'
    return dict(
        command=' '.join(['python', *sys.argv]),
        commit=commit.stdout.strip() or 'unknown',
        device=device,
        python=platform.python_version(),
        **{m.__name__: m.__version__ for m in (torch, mmengine, mmcv, mmdet, mmdet_nrpn)},
    )


def main() -> None:
    args = parse_args()
    if args.checkpoints:
        runs = [Run(config, 0, args.work_dir, ckpt) for config, ckpt in zip(args.configs, args.checkpoints)]
    else:
        runs = [Run(config, seed, args.work_dir) for seed in args.seeds for config in args.configs]
    plan = Plan(runs)
    if len({run.folder for run in runs}) < len(runs):
        sys.exit('two configs or checkpoints have the same file name; give them different ones')
    # so that a scheduler's SIGTERM ends the training, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated; the same command goes on from here'))
    logging.disable(logging.WARNING)  # of models that are built only to be looked at
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        wrong = [line for line in (check(run) for run in runs[: len(args.configs)]) if line]
    if wrong:
        sys.exit('\n'.join(wrong))

    if args.dry_run:
        seconds = plan.estimate()
        for run in plan.runs:
            time = f'{seconds[str(run.folder)] / 60:.1f} min' if str(run.folder) in seconds else 'finished'
            print(f'{run.name}, {run.folder.name}: {time}')
        print(f'{len(seconds)} runs to go, about {sum(seconds.values()) / 60:.0f} min of training')
        return

    if args.rerun:  # all at once, so that an interrupted repetition goes on without --rerun
        for run in plan.runs:
            if run.is_finished():
                run.move_aside()
    failed = False
    for number, run in enumerate(plan.runs):
        finished = run.is_finished()
        print(f'\n=== {plan.progress(number)}{": finished before" if finished else ""}', flush=True)
        if finished:
            continue
        try:
            run.execute(environment())
        except Exception as error:  # one run must not take the others down
            print(f'{type(error).__name__}: {error}', file=sys.stderr)
            failed = True
    table = report(runs, args.work_dir, environment())
    print(f'\n{table}\n\nTables, results and figures: {args.work_dir}/table.md, results.json, recall.png, recall.svg')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
