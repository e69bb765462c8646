import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from stack import REPEATING_WORKERS as WORKERS

pytestmark = pytest.mark.slow
STEPS, KILLED = 10, 6
OPTIONS = [
    '--cfg-options', f'train_cfg.max_iters={STEPS}', f'train_cfg.val_interval={STEPS}',
    'train_dataloader.batch_size=2', f'train_dataloader.num_workers={WORKERS}',
    f'train_dataloader.persistent_workers={WORKERS > 0}', 'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.checkpoint.max_keep_ckpts=3', 'randomness.seed=3', 'randomness.deterministic=True',
]  # fmt: skip


@pytest.fixture
def arguments(repo, tmp_path):
    """Of a training of a config of the demo, in a folder."""

    def make(name, work_dir):
        config = tmp_path / 'config.py'
        base = repo / 'configs' / 'nrpn' / f'{name}_r18-w16_fpn_demo_shapes.py'
        config.write_text(
            f"_base_ = ['{base}']\n"
            "custom_imports = dict(imports=['mmdet_nrpn', 'ballast_hook'], allow_failed_imports=False)\n"
            f"custom_hooks = [dict(type='StepSeedHook'), dict(type='BallastHook', step={KILLED})]\n"
        )
        return ['tools/train.py', config, '--work-dir', work_dir, *OPTIONS]

    return make


@pytest.fixture
def env(repo, shapes):
    paths = [str(repo / 'tests' / 'helpers'), *filter(None, [os.environ.get('PYTHONPATH')])]
    return dict(SHAPES_ROOT=f'{shapes}/', PYTHONPATH=os.pathsep.join(paths))


@pytest.fixture
def start(repo, env):
    """Start a training in a session of its own, in which no file grows beyond ``space`` bytes."""

    def start(args, space=resource.RLIM_INFINITY):
        return subprocess.Popen(
            [sys.executable, *args],
            cwd=repo,
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (space, space)),
        )

    return start


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)  # its data loaders as well
    process.wait()


def weights(work_dir):
    return torch.load(work_dir / f'iter_{STEPS}.pth', map_location='cpu', weights_only=False)['state_dict']


def checkpoints(work_dir):
    """The checkpoints, all of them whole, with the times at which they were written; the last one is among them."""
    found = {path: path.stat().st_mtime for path in work_dir.glob('*.pth')}
    for path in found:
        torch.load(path, map_location='cpu', weights_only=False)
    assert Path((work_dir / 'last_checkpoint').read_text()) in found
    return found


def test_killed_while_it_saves_and_on_a_full_disk_it_ends_where_it_would_have(
    start, run_tool, arguments, env, tmp_path
):
    name = 'nrpn-overlap'  # trains and samples by a second RPN
    straight, killed = tmp_path / 'straight', tmp_path / 'killed'
    done = run_tool(*arguments(name, straight), **env)
    assert done.returncode == 0, done.stderr

    process = start(arguments(name, killed))
    deadline = time.monotonic() + 200
    while not list(killed.glob(f'iter_{KILLED}.pth*')):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    kill(process)
    left = checkpoints(killed)
    assert killed / f'iter_{KILLED - 1}.pth' in left

    # less room than the smallest one needs
    process = start([*arguments(name, killed), '--resume'], space=min(path.stat().st_size for path in left) // 2)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 1 and 'File too large' in said, said
    assert set(checkpoints(killed).items()) <= set(left.items())

    done = run_tool(*arguments(name, killed), '--resume', **env)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = weights(straight)
    for key, value in weights(killed).items():
        assert torch.equal(value, expected[key]), key
