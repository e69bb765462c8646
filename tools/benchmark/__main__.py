"""Train configs over seeds, measure them, and tell what the difference is worth.

    python tools/benchmark STOCK_CONFIG OTHER_CONFIG --seeds 0 1 2
    python tools/benchmark --rows FILE.json --seeds 0 1 2                  # configs, and what is changed in them
    python tools/benchmark STOCK_CONFIG OTHER_CONFIG --dry-run             # what would be run, and for how long
    python tools/benchmark STOCK_CONFIG OTHER_CONFIG --list >runs.txt      # one command per run, for a cluster
    python tools/benchmark STOCK_CONFIG OTHER_CONFIG --table               # only the table of what results there are
    python tools/benchmark CONFIG CONFIG --checkpoints A.pth B.pth         # only measure

The first config is the baseline of the differences. All is measured on val_dataloader: with the config's own evaluators
(mAP, HOTA) and ProposalMetric. Runs with equal seeds have the same schedule, data order and initial weights. Finished
runs are not repeated; an interrupted one goes on from its last checkpoint; one that fails is reported in the table,
which has every result that lies in the folder.

FILE.json names the rows, the baseline first; a config is relative to it, and "*" is changed in every row:

    {"*": {"train_cfg.max_iters": 500}, "rpn": {"config": "rpn_x.py"},
     "nrpn-100": {"config": "nrpn_x.py", "model.rpn_head.nrpn_head.max_num": 100}}
"""

import argparse
import contextlib
import copy
import itertools
import os
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Tuple

# before torch is imported, as in train.py: the plan times a few steps here
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from arguments import Parser, at_least, existing_file, folder, told

with contextlib.redirect_stdout(sys.stderr):  # MMDetection prints on import, and --list must not
    import check_config
    from detectors import build_model, tell_step
    from mmdet_tools import read_each_metafile_once
    from mmengine.config import Config
    from mmengine.runner import Runner, set_random_seed

    from benchmark.report import report
    from benchmark.runs import Run, rows_of_configs, rows_of_file

STEPS = 3  # timed for an estimate


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__, prog='tools/benchmark')
    parser.add_argument('configs', type=existing_file, nargs='*', help='config files; the first is the baseline')
    parser.add_argument('--rows', type=existing_file, metavar='FILE.json', help='rows of a table, in their place')
    parser.add_argument('--seeds', type=at_least(0), nargs='+', default=[0, 1])
    parser.add_argument('--work-dir', type=folder, default=Path('work_dirs/benchmark'))
    parser.add_argument(
        '--jobs', type=at_least(1), default=1, help='runs side by side, one GPU per run if there are some'
    )
    parser.add_argument('--checkpoints', type=existing_file, nargs='+', help='one per config: measure, train nothing')
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--dry-run', action='store_true', help='check, print the plan and its time, and run nothing')
    what.add_argument('--list', action='store_true', help='check, print one command per run, and run nothing')
    what.add_argument('--table', action='store_true', help='run nothing, make the table')
    args = parser.parse_args()
    if bool(args.configs) == bool(args.rows):
        parser.error('name configs, or a file of rows with --rows')
    if args.table and not args.work_dir.exists():
        parser.error(f'--work-dir {args.work_dir} is not there; name the folder of the runs')
    if len({*args.seeds}) < len(args.seeds):
        parser.error(f'--seeds {" ".join(map(str, args.seeds))} names a seed twice; give each once')
    return args


def find_runs(args: argparse.Namespace) -> List[Run]:
    """Seed by seed, so that after each seed all rows can be compared."""
    with contextlib.redirect_stdout(sys.stderr):  # MMEngine tells of variables
        found = rows_of_file(args.rows) if args.rows else rows_of_configs(args.configs)
    if args.checkpoints and len(args.checkpoints) != len(found):
        raise ValueError(f'{len(args.checkpoints)} checkpoints for {len(found)} configs; give one per config')
    if args.checkpoints:
        runs = [Run(row, 0, args.work_dir, path) for row, path in zip(found, args.checkpoints)]
    else:
        runs = [Run(row, seed, args.work_dir) for seed in args.seeds for row in found]
    if len({run.folder for run in runs}) < len(runs):
        raise ValueError('two configs or checkpoints have the same file name; give them different ones')
    return runs


def time_training(cfg: Config, seed: int) -> Tuple[float, int]:
    """Seconds that a step of a training takes, from a few of them, and the number of its steps.

    Neither measuring nor the start of the processes is in it.
    """
    cfg = copy.deepcopy(cfg)
    set_random_seed(seed)
    model = build_model(cfg).train()
    without_workers = dict(num_workers=0, persistent_workers=False, prefetch_factor=None)
    loader = Runner.build_dataloader(dict(cfg.train_dataloader, **without_workers), seed=seed)
    batches = itertools.chain.from_iterable(itertools.repeat(loader, STEPS + 1))
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    times = []
    for number, data in enumerate(itertools.islice(batches, STEPS + 1)):
        tell_step(number)
        start = time.perf_counter()
        loss, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
        loss.backward()
        loss.item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    schedule = cfg.train_cfg
    return statistics.median(times[1:]), schedule.get('max_iters') or schedule.max_epochs * len(loader)


def print_plan(runs: List[Run]) -> None:
    timed: Dict[str, tuple] = {}
    minutes = []
    for run in runs:
        plan = 'finished'
        if not run.is_finished():
            if run.name not in timed:
                timed[run.name] = (0, 0) if run.checkpoint else time_training(run.cfg, run.seed)
            seconds, number = timed[run.name]
            minutes.append(number * seconds / 60)
            plan = f'{number} steps of {seconds:.2f} s, {minutes[-1]:.1f} min'
        print(f'{run.name}, seed {run.seed}: {plan}')
    print(f'{len(minutes)} runs to go, about {sum(minutes):.0f} min of training')
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > cores:
        print(f'The machine is busy (a load of {load:.1f} on {cores} cores): on a quiet one it takes less')


def environment(slot: int, jobs: int) -> dict:
    """Of one of several runs side by side: its share of the GPUs or of the cores."""
    if jobs == 1:
        return dict(os.environ)
    given = os.environ.get('CUDA_VISIBLE_DEVICES')
    gpus = given.split(',') if given else [str(gpu) for gpu in range(torch.cuda.device_count())]
    mine = dict(OMP_NUM_THREADS=str(max(1, len(os.sched_getaffinity(0)) // jobs)))
    return {**mine, **os.environ, **(dict(CUDA_VISIBLE_DEVICES=gpus[slot % len(gpus)]) if gpus else {})}


def execute(runs: List[Run], jobs: int) -> int:
    """Run what is not finished; one that fails does not take the others down.

    Returns:
        int: How many failed.
    """
    slots, mine, processes = itertools.count(), threading.local(), []
    pool = ThreadPoolExecutor(jobs, initializer=lambda: setattr(mine, 'slot', next(slots)))

    def fails(number: int) -> bool:
        run = runs[number]
        finished = ': finished before' if run.is_finished() else ''
        now = time.strftime('%H:%M')
        print(f'\n=== run {number + 1} of {len(runs)}: {run.name}, seed {run.seed}, at {now}{finished}', flush=True)
        if finished:
            return False
        output = None if jobs == 1 else subprocess.DEVNULL  # of several at once each has its log
        process = subprocess.Popen(run.command(), env=environment(mine.slot, jobs), stdout=output)
        processes.append(process)
        if status := process.wait():
            why = run.last_words() if status > 0 else f'ended by signal {-status}'
            print(f'{run.name}, seed {run.seed} failed: {why}', file=sys.stderr, flush=True)
        return status != 0

    try:
        return sum(pool.map(fails, range(len(runs))))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def main() -> None:
    args = parse_args()
    read_each_metafile_once()
    with told():
        runs = find_runs(args)
    # so that a scheduler's SIGTERM ends the trainings, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated; the same command goes on from here'))
    failed = 0
    if not args.table:
        first = {run.name: run for run in runs}.values()
        with told():
            rows = [check_config.Row(str(run.row.source), run.cfg, run.checkpoint) for run in first]
        wrong = check_config.problems(rows)
        if wrong:
            sys.exit('\n'.join(wrong))
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
    table = report(args.work_dir, [(run.name, run.seed) for run in runs], shlex.join(['python', *sys.argv]))
    sys.stdout.reconfigure(errors='replace')  # an output may be ASCII only
    print(f'\n{table}\n\nAll numbers: {args.work_dir}/runs.csv; curves: {args.work_dir}/recall.png')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
