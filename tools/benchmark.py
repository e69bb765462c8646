"""Train configs over seeds, measure their proposals, and tell what the difference is worth.

    python tools/benchmark.py                                           # the paper's rows and the baselines, on shapes
    python tools/benchmark.py STOCK_CONFIG OTHER_CONFIG --seeds 0 1 2   # yours
    python tools/benchmark.py --dry-run                                 # what would be run, and for how long
    python tools/benchmark.py --list >runs.txt                          # one command per run, for a cluster
    python tools/benchmark.py --table                                   # only the table of what results there are
    python tools/benchmark.py CONFIG CONFIG --checkpoints A.pth B.pth   # only measure

The first config is the baseline of the differences. Runs with equal seeds have the same schedule, data order and
initial weights. Finished runs are not repeated; an interrupted one goes on from its last checkpoint; one that fails is
reported in the table, which has every result that lies in the folder.
"""

import argparse
import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Dict, List, Optional

# before torch is imported, as in train.py: the plan times a few steps here
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import torch
from arguments import at_least, existing_file

with contextlib.redirect_stdout(sys.stderr):  # MMDetection prints on import, and --list must not
    from benchmark.check import Check
    from benchmark.report import report
    from benchmark.runs import Run
    from benchmark.timing import time_training
    from mmdet_tools import read_each_metafile_once

ROOT = Path(__file__).resolve().parents[1]
ROWS = ('rpn', 'paper-nrpn', 'paper-nrpn-overlap', 'rpn-focal', 'nrpn-focal')
DEFAULT = [ROOT / 'configs' / 'nrpn' / f'{row}_r18-w16_fpn_demo_shapes.py' for row in ROWS]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs', type=existing_file, nargs='*', default=DEFAULT, help='config files; the first is the baseline'
    )
    parser.add_argument('--seeds', type=at_least(0), nargs='+', default=[0, 1], help='default: 0 1')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'), help='default: %(default)s')
    parser.add_argument(
        '--jobs', type=at_least(1), default=1, help='runs side by side, one GPU per run where there are some'
    )
    parser.add_argument(
        '--checkpoints', type=existing_file, nargs='+', help='one per config: measure them, train nothing'
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--dry-run', action='store_true', help='check, print the plan and its time, and run nothing')
    what.add_argument('--list', action='store_true', help='check, print one command per run, and run nothing')
    what.add_argument('--table', action='store_true', help='run nothing, make the table')
    args = parser.parse_args()
    if args.checkpoints and len(args.checkpoints) != len(args.configs):
        parser.error(f'{len(args.checkpoints)} checkpoints for {len(args.configs)} configs; give one per config')
    if args.work_dir.exists() and not args.work_dir.is_dir():
        parser.error(f'--work-dir {args.work_dir} is a file; name a folder')
    if args.table and not args.work_dir.exists():
        parser.error(f'--work-dir {args.work_dir} is not there; name the folder of the runs')
    return args


def check_all(runs: List[Run]) -> None:
    """Leave with a line for each config that cannot be run as it is."""
    logging.disable(logging.WARNING)  # of models that are built only to be looked at
    check = Check()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter('ignore')
        wrong = [line for line in map(check, {run.name: run for run in runs}.values()) if line]
    if wrong:
        sys.exit('\n'.join(wrong))


def print_plan(runs: List[Run]) -> None:
    seconds: Dict[str, float] = {}
    to_go = [run for run in runs if not run.is_finished()]
    for run in runs:
        if run in to_go and run.name not in seconds:
            seconds[run.name] = 0 if run.checkpoint else time_training(run.cfg, run.seed)
        print(f'{run.name}, seed {run.seed}: ' + (f'{seconds[run.name] / 60:.1f} min' if run in to_go else 'finished'))
    print(f'{len(to_go)} runs to go, about {sum(seconds[run.name] for run in to_go) / 60:.0f} min of training')


def environment(slot: int, jobs: int) -> dict:
    """Of one of several runs side by side: its share of the GPUs or of the cores."""
    if jobs == 1:
        return dict(os.environ)
    given = os.environ.get('CUDA_VISIBLE_DEVICES')
    gpus = given.split(',') if given else [str(number) for number in range(torch.cuda.device_count())]
    mine = dict(OMP_NUM_THREADS=str(max(1, len(os.sched_getaffinity(0)) // jobs)))
    return {**mine, **os.environ, **(dict(CUDA_VISIBLE_DEVICES=gpus[slot % len(gpus)]) if gpus else {})}


def execute(runs: List[Run], jobs: int) -> int:
    """Run what is not finished; one that fails does not take the others down.

    Returns:
        int: How many failed.
    """
    waiting, running, failed = list(enumerate(runs, start=1)), {}, 0
    try:
        while waiting or running:
            for slot in set(range(jobs)) - set(running):
                if waiting:
                    number, run = waiting.pop(0)
                    finished = run.is_finished()
                    print(
                        f'\n=== run {number} of {len(runs)}: {run.name}, seed {run.seed}, at {time.strftime("%H:%M")}'
                        + (': finished before' if finished else ''),
                        flush=True,
                    )
                    if not finished:
                        # of several at once each has its log
                        output = None if jobs == 1 else subprocess.DEVNULL
                        process = subprocess.Popen(run.command(), env=environment(slot, jobs), stdout=output)
                        running[slot] = (run, process)
            for slot, (run, process) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    if process.returncode != 0:
                        failed += 1
                        print(f'{run.name}, seed {run.seed} failed: {run.last_words()}', file=sys.stderr, flush=True)
            time.sleep(0.1)
    finally:
        for _, process in running.values():
            process.terminate()
    return failed


def printable(text: str) -> str:
    """The text for an output that may be ASCII only."""
    encoding = sys.stdout.encoding or 'ascii'
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace('±', '+-').encode(encoding, 'replace').decode(encoding)
    return text


def main(called: Optional[str] = None) -> None:
    """Run, with what stands in the tables as the command; None: this one."""
    args = parse_args()
    read_each_metafile_once()
    if args.checkpoints:
        runs = [Run(config, 0, args.work_dir, path) for config, path in zip(args.configs, args.checkpoints)]
    else:  # seed by seed, so that after each seed all rows can be compared
        runs = [Run(config, seed, args.work_dir) for seed in args.seeds for config in args.configs]
    if len({run.folder for run in runs}) < len(runs):
        sys.exit('two configs or checkpoints have the same file name; give them different ones')
    # so that a scheduler's SIGTERM ends the trainings, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated; the same command goes on from here'))
    failed = 0
    if not args.table:
        check_all(runs)
        if args.dry_run:
            print_plan(runs)
            return
        to_go = [run for run in runs if not run.is_finished()]
        for run in to_go:
            run.prepare()
        if args.list:
            for run in to_go:
                print(shlex.join(run.command()))
            return
        failed = execute(runs, args.jobs)
    called = called or shlex.join(['python', *sys.argv])
    table = report(args.work_dir, [(run.name, run.seed) for run in runs], called)
    print(
        printable(
            f'\n{table}\n\nTables, results and figures: {args.work_dir}/table.md, runs.csv, results.json, recall.png'
        )
    )
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
