"""Train and measure one run that tools/benchmark has prepared; the command that its --list prints.

    python tools/benchmark/execute.py WORK_DIR/NAME/seed0.py

Goes on from the last checkpoint. All that is printed is in WORK_DIR/NAME/seed0.log, too.
"""

import contextlib
import copy
import fcntl
import gc
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import traceback
from importlib import metadata
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Dict, Iterator, List, Optional

# before torch is imported, as in train.py
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from arguments import Parser
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmdet_tools import format_each_config_once, read_each_metafile_once
from mmengine.config import Config
from mmengine.registry import RUNNERS
from whole_files import WholeFileBackend, write_whole_files

# the benchmark reports a log's last line
DIVERGED = (
    'the loss became infinite or NaN; lower optim_wrapper.optimizer.lr or the weights of the losses, or set '
    'optim_wrapper.clip_grad=dict(max_norm=10)'
)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes off a run's folder."""
    with open(folder.with_suffix('.lock'), 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f'{folder} is being run by another process; let it end, or end it') from None
        yield


def log_to(path: Path) -> None:
    """Write what this process and its workers print from now on to a file as well, also the error that ends it."""
    tee = subprocess.Popen(['tee', '-i', '-a', path], stdin=subprocess.PIPE)
    kept = [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(tee.stdin.fileno(), number)
    tee.stdin.close()

    def finish() -> None:
        sys.stdout.flush()
        for number, old in zip((1, 2), kept):
            os.dup2(old, number)
        tee.wait()

    Finalize(None, finish, exitpriority=-200)  # after multiprocessing ended the workers, which print there, too


def train(cfg: Config) -> dict:
    """Train, or go on from the last checkpoint; exit if the loss became infinite or NaN.

    Returned are the seconds of a step and of all, where they were logged, and the peak memory in MiB.
    """
    # measured once, after the training, so that an interruption anywhere leaves something to go on from
    cfg = copy.deepcopy(cfg)
    cfg.update({f'{loop}_{part}': None for loop in ('val', 'test') for part in ('dataloader', 'cfg', 'evaluator')})
    folder = Path(cfg.work_dir)
    if (folder / 'last_checkpoint').exists():
        cfg.resume, cfg.load_from = True, None
    runner = RUNNERS.build(cfg)
    try:
        runner.train()
    except AssertionError:
        if 'checkloss_hook' not in traceback.format_exc():  # CheckInvalidLossHook's has no words
            raise
        runner.visualizer.close()  # one that says something at its end says it before
        sys.exit(DIVERGED)
    # a loss that was not looked at leaves weights that are NaN
    if not all(bool(weight.isfinite().all()) for weight in runner.model.state_dict().values()):
        sys.exit(DIVERGED)
    times, costs = scalars(folder, 'time'), {}
    if times:
        costs['step_seconds'] = statistics.median(times)
        costs['seconds'] = costs['step_seconds'] * max(scalars(folder, 'step'))
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    costs['peak_memory_mib'] = max(scalars(folder, 'memory') or [kib / 1024])
    return costs


def scalars(folder: Path, key: str) -> List[float]:
    """What MMEngine logged under a name while training."""
    rows = []
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in file.read_text(encoding='utf-8').splitlines():
            with contextlib.suppress(ValueError):  # cut short by a full disk, say
                rows.append(json.loads(line))
    return [row[key] for row in rows if key in row and 'lr' in row]


def measure(cfg: Config, checkpoint: Optional[str]) -> Dict[str, float]:
    """The metrics of a checkpoint, or of the last one of this run, on the validation data."""
    cfg.resume, cfg.load_from = False, checkpoint or Path(cfg.work_dir, 'last_checkpoint').read_text('utf-8').strip()
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.test_cfg = cfg.get('test_cfg') or dict()
    if cfg.get('visualizer'):  # the training's is closed
        cfg.visualizer.name = 'measuring'
    metrics = RUNNERS.build(cfg).test()
    return {key: float(value) for key, value in metrics.items() if isinstance(value, (int, float, np.number))}


def environment() -> dict:
    """Of this machine, with the versions of what was run."""
    described = 'git describe --always --dirty'  # by a shell, which takes it that there may be no git
    done = subprocess.run(described, shell=True, cwd=Path(__file__).parent, capture_output=True, text=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads'
    installed = metadata.packages_distributions()  # OneDL's and OpenMMLab's packages have other names
    names = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmdet_nrpn')
    versions = {name: metadata.version(installed[name][0]) for name in names if name in installed}
    commit = done.stdout.strip() or 'unknown'
    return dict(commit=commit, device=device, python=platform.python_version(), **versions)


def main() -> None:
    file = Parser(__doc__, 'config').parse_args().config.resolve()
    folder = file.with_suffix('')
    if (folder / 'result.json').exists():
        return
    folder.mkdir(exist_ok=True)
    with locked(folder):
        log_to(file.with_suffix('.log'))
        format_each_config_once()
        read_each_metafile_once()
        write_whole_files()
        setup_cache_size_limit_of_dynamo()
        cfg = Config.fromfile(file)
        cfg.work_dir, cfg.launcher = str(folder), 'none'
        given = cfg.get('measured_checkpoint')
        result = dict(
            config=cfg.benchmarked_config,
            config_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            seed=cfg.randomness.seed,
        )
        if given is None:
            result.update(train(cfg))
            gc.collect()  # the training's model, images and workers
        result['metrics'] = measure(cfg, given and given.path)
        result['environment'] = environment()
        WholeFileBackend().put_text(json.dumps(result, indent=1), folder / 'result.json')


if __name__ == '__main__':
    main()
