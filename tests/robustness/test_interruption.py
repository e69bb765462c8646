import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from stack import REPEATING_WORKERS as WORKERS

pytestmark = pytest.mark.slow
STEPS = 10
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
        config.write_text(f"_base_ = ['{base}']\ncustom_hooks = [dict(type='StepSeedHook')]\n")
        return ['tools/train.py', config, '--work-dir', work_dir, *OPTIONS]

    return make


@pytest.fixture
def start(repo, shapes):
    """Start a training in a session of its own."""

    def start(args):
        return subprocess.Popen(
            [sys.executable, *args],
            cwd=repo,
            env={**os.environ, 'SHAPES_ROOT': f'{shapes}/'},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    return start


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)  # its data loaders as well
    process.wait()


def weights(work_dir):
    return torch.load(work_dir / f'iter_{STEPS}.pth', map_location='cpu', weights_only=False)['state_dict']


def test_killed_and_resumed_it_ends_where_it_would_have(start, run_tool, arguments, shapes, tmp_path):
    name = 'paper-nrpn-overlap'  # trains and samples by a second RPN
    straight, killed = tmp_path / 'straight', tmp_path / 'killed'
    done = run_tool(*arguments(name, straight), SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr

    process = start(arguments(name, killed))
    at = random.Random(name).randint(2, STEPS - 3)
    deadline = time.monotonic() + 200
    while not (killed / f'iter_{at}.pth').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    kill(process)
    assert not (killed / f'iter_{STEPS}.pth').exists()
    # and as a full disk would leave it
    newest = max(killed.glob('iter_*.pth'), key=lambda path: int(path.stem.split('_')[1]))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    (killed / 'last_checkpoint').write_text(str(newest))  # the kill may have come while it was written

    done = run_tool(*arguments(name, killed), '--resume', SHAPES_ROOT=f'{shapes}/')
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert f'{newest} was not written to its end' in printed
    assert f'iter_{int(newest.stem.split("_")[1]) - 1}.pth' in printed
    expected = weights(straight)
    for key, value in weights(killed).items():
        assert torch.equal(value, expected[key]), key
