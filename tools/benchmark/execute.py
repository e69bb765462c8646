"""Train and measure one run that tools/benchmark.py has prepared; the command that its --list prints.

    python tools/benchmark/execute.py WORK_DIR/NAME/seed0.py

Goes on from the last checkpoint. All that is printed is in WORK_DIR/NAME/seed0.log, too.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import resource
import runpy
import signal
import statistics
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, List

TOOLS = Path(__file__).resolve().parents[1]
# the benchmark reports a log's last line
DIVERGED = (
    'the loss became infinite or NaN; lower optim_wrapper.optimizer.lr or the weights of the losses, or set '
    'optim_wrapper.clip_grad=dict(max_norm=10)'
)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keep other processes off a run's folder; the lock's file descriptor does so wherever it is open."""
    with open(folder.with_suffix('.lock'), 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f'{folder} is being run by another process; let it end, or end it') from None
        yield lock.fileno()


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Write what this process and those that it starts print to a file as well."""
    tee = subprocess.Popen(['tee', '-i', '-a', path], stdin=subprocess.PIPE)
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(tee.stdin.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        for number, old in zip((1, 2), kept):
            os.dup2(old, number)
        tee.stdin.close()
        tee.wait()


def run_tool(name: str, *args: object, lock: int) -> None:
    """Run one of this folder's tools; the lock on the run's folder is held for as long as it lives."""
    status = subprocess.run([sys.executable, TOOLS / name, *map(str, args)], pass_fds=[lock]).returncode
    if status != 0:
        raise SystemExit(f'{name} ended with status {status}')


def is_finite(checkpoint: str) -> bool:
    """Whether all weights are: a loss that is NaN leaves none."""
    package = Path(find_spec('mmdet_nrpn').origin).parent  # without importing it, which takes seconds
    read_checkpoint = runpy.run_path(str(package / 'utils' / 'checkpoints.py'))['read_checkpoint']
    return all(bool(weight.isfinite().all()) for weight in read_checkpoint(checkpoint)['state_dict'].values())


def scalars(folder: Path, key: str) -> List[float]:
    """What MMEngine logged under a name while training."""
    rows = []
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in file.read_text(encoding='utf-8').splitlines():
            with contextlib.suppress(ValueError):  # cut short by a full disk, say
                rows.append(json.loads(line))
    return [row[key] for row in rows if key in row and 'lr' in row]


def train(config: Path, folder: Path, lock: int) -> dict:
    """Train, or go on, and tell what a step took.

    Returns:
        dict: Seconds of a step and of all, where they were logged, and the peak memory in MiB.
    """
    # --resume throws a config's load_from away
    resume = ['--resume'] if (folder / 'last_checkpoint').exists() else []
    logs = set(folder.glob('*/*.log'))
    try:
        run_tool('train.py', config, '--work-dir', folder, *resume, lock=lock)
    except SystemExit:
        # what MMDetection's CheckInvalidLossHook says before it raises an error without words
        if any('loss become infinite or NaN' in log.read_text() for log in set(folder.glob('*/*.log')) - logs):
            print(DIVERGED)
        raise
    times, costs = scalars(folder, 'time'), {}
    if times:
        costs['step_seconds'] = statistics.median(times)
        costs['seconds'] = costs['step_seconds'] * max(scalars(folder, 'step'))
    kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    costs['peak_memory_mib'] = max(scalars(folder, 'memory') or [kib / 1024])
    return costs


def environment() -> dict:
    """Of this machine, with the versions of what was run."""
    import torch

    try:
        done = subprocess.run(['git', 'describe', '--always', '--dirty'], cwd=TOOLS, capture_output=True, text=True)
        commit = done.stdout.strip() or 'unknown'
    except OSError:  # no git
        commit = 'unknown'
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads'
    installed = metadata.packages_distributions()  # OneDL's and OpenMMLab's packages have other names
    names = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmdet_nrpn')
    versions = {name: metadata.version(installed[name][0]) for name in names if name in installed}
    return dict(commit=commit, device=device, python=platform.python_version(), **versions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='as tools/benchmark.py wrote it')
    config = parser.parse_args().config.resolve()
    folder = config.with_suffix('')
    if (folder / 'result.json').exists():
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated; the same command goes on from here'))
    folder.mkdir(exist_ok=True)
    with locked(folder) as lock, logged(config.with_suffix('.log')):
        execute(config, folder, lock)


def execute(config: Path, folder: Path, lock: int) -> None:
    cfg = runpy.run_path(str(config))  # without MMEngine, whose import takes seconds
    result = dict(
        config=cfg['benchmarked_config'],
        config_sha256=hashlib.sha256(config.read_bytes()).hexdigest(),
        seed=cfg['randomness']['seed'],
    )
    if 'measured_checkpoint' in cfg:
        checkpoint = cfg['measured_checkpoint']['path']
    else:
        result.update(train(config, folder, lock))
        checkpoint = (folder / 'last_checkpoint').read_text(encoding='utf-8').strip()
        if not is_finite(checkpoint):
            print(DIVERGED)
            sys.exit(1)
    run_tool('test.py', config, checkpoint, '--work-dir', folder, lock=lock)
    result['environment'] = environment()
    result['metrics'] = json.loads((folder / 'proposals.json').read_text(encoding='utf-8'))['metrics']
    # whole or not at all, also when killed while writing
    part = folder / 'result.part'
    part.write_text(json.dumps(result, indent=1), encoding='utf-8')
    part.replace(folder / 'result.json')


if __name__ == '__main__':
    main()
