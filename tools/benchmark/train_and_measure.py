"""Train and measure one run of tools/benchmark, in this process. execute.py starts it, with a lock and a log."""

import argparse
import contextlib
import copy
import gc
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Dict, List, Optional

# before torch is imported, as in train.py
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import numpy as np
import torch
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmdet_tools import format_each_config_once, read_each_metafile_once
from mmengine.config import Config
from mmengine.registry import RUNNERS
from whole_files import write_whole_files, written_beside

# the benchmark reports a log's last line
DIVERGED = (
    'the loss became infinite or NaN; lower optim_wrapper.optimizer.lr or the weights of the losses, or set '
    'optim_wrapper.clip_grad=dict(max_norm=10)'
)


def train(cfg: Config) -> dict:
    """Train, or go on from the last checkpoint, and tell what a step took.

    Returns:
        dict: Seconds of a step and of all, where they were logged, and the peak memory in MiB.

    Raises:
        SystemExit: If the loss became infinite or NaN.
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
        # CheckInvalidLossHook's, which logs why and raises an error without words
        if 'loss become infinite or NaN' in Path(runner.log_dir, f'{runner.timestamp}.log').read_text():
            runner.visualizer.close()  # one that says something at its end says it before
            sys.exit(DIVERGED)
        raise
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
    try:
        done = subprocess.run(
            ['git', 'describe', '--always', '--dirty'], cwd=Path(__file__).parent, capture_output=True, text=True
        )
        commit = done.stdout.strip() or 'unknown'
    except OSError:  # no git
        commit = 'unknown'
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads'
    installed = metadata.packages_distributions()  # OneDL's and OpenMMLab's packages have other names
    names = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmdet_nrpn')
    versions = {name: metadata.version(installed[name][0]) for name in names if name in installed}
    return dict(commit=commit, device=device, python=platform.python_version(), **versions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path, help='as tools/benchmark wrote it')
    file = parser.parse_args().config
    folder = file.with_suffix('')
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
    with written_beside(folder / 'result.json') as part:
        Path(part).write_text(json.dumps(result, indent=1), encoding='utf-8')


if __name__ == '__main__':
    main()
