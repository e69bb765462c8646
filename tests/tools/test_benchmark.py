import json
import os
import subprocess
import sys
import time

import pytest
import torch
from stack import REPEATING_WORKERS

pytestmark = pytest.mark.slow

CONFIG = """
_base_ = ['{base}']
train_cfg = dict(max_iters={iters}, val_interval={iters})
train_dataloader = dict(batch_size=2, num_workers={workers}, persistent_workers={workers} > 0)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""


@pytest.fixture
def command(repo, shapes, tmp_path):
    """The benchmark's arguments for the two demo configs, cut short."""

    def make(iters):
        configs = []
        for name in ('rpn', 'nrpn-overlap'):
            base = repo / 'configs' / 'nrpn' / f'{name}_r18-w16_fpn_demo_shapes.py'
            configs.append(tmp_path / f'{name}.py')
            configs[-1].write_text(CONFIG.format(base=base, iters=iters, workers=REPEATING_WORKERS))
        return ['tools/benchmark.py', *configs, '--work-dir', tmp_path / 'work', '--seeds', 0]

    return make


def test_trains_measures_compares_and_does_not_repeat(run_tool, shapes, command, tmp_path):
    tool, stock, ours, *options = command(3)
    broken, work = tmp_path / 'broken.py', tmp_path / 'work'
    # builds, and fails in its first step: that must not take the others down
    broken.write_text(f"_base_ = ['{ours}']\nmodel = dict(train_cfg=dict(rpn=dict(allowed_border='typo')))\n")
    done = run_tool(tool, stock, broken, ours, *options, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1
    assert 'broken: seeds [0] failed' in done.stdout and 'train.py failed' in done.stderr
    assert {'table.md', 'table.txt', 'results.json', 'recall.png'} <= {path.name for path in work.iterdir()}
    assert 'nrpn-overlap, difference' in done.stdout
    start = time.monotonic()
    again = run_tool(tool, stock, ours, *options, SHAPES_ROOT=f'{shapes}/')
    assert again.returncode == 0 and again.stdout.count('finished before') == 2 and time.monotonic() - start < 30
    assert (work / 'table.txt').read_text() in again.stdout

    checkpoints = [work / name / 'seed0' / 'iter_3.pth' for name in ('rpn', 'nrpn-overlap')]
    only = run_tool(
        tool, stock, ours, '--work-dir', tmp_path / 'only', '--checkpoints', *checkpoints, SHAPES_ROOT=f'{shapes}/'
    )
    assert only.returncode == 0, only.stderr
    measured, trained = (
        [row['AR@100'] for row in json.loads((folder / 'results.json').read_text())['rows']]
        for folder in (tmp_path / 'only', work)
    )
    assert measured == trained


def test_killed_it_goes_on(run_tool, repo, shapes, command, tmp_path):
    tool, _, ours, *options = command(20)
    args, folder = [tool, ours, *options], tmp_path / 'work' / 'nrpn-overlap' / 'seed0'
    process = subprocess.Popen(
        [sys.executable, *map(str, args)],
        cwd=repo,
        env={**os.environ, 'SHAPES_ROOT': f'{shapes}/'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (folder / 'last_checkpoint').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()  # the tool alone; its training must end with it
    process.wait()
    log = next(folder.glob('*/*.log'))
    time.sleep(1)
    size = log.stat().st_size
    time.sleep(2)
    assert log.stat().st_size == size  # or it has come to its end:
    assert not (folder / 'iter_20.pth').exists() and not (folder / 'result.json').exists()
    done = run_tool(*args, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    assert 'resumed epoch' in done.stdout or 'resumed from' in done.stdout.lower()
    assert (folder / 'result.json').exists()

    straight = tmp_path / 'straight'
    done = run_tool('tools/train.py', folder.with_suffix('.py'), '--work-dir', straight, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    ended, straight = (
        torch.load(work / 'iter_20.pth', weights_only=False)['state_dict'] for work in (folder, straight)
    )
    assert all(torch.equal(ended[key], value) for key, value in straight.items())


def test_a_wrong_config_stops_all_before_any_training(run_tool, shapes, command, tmp_path):
    tool, stock, ours, *options = command(3)
    broken = tmp_path / 'broken.py'
    broken.write_text(f"_base_ = ['{ours}']\nmodel = dict(rpn_head=dict(type='HardNegativRPNHead'))\n")
    done = run_tool(tool, stock, broken, *options, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("did you mean 'HardNegativeRPNHead'?")
    assert not (tmp_path / 'work').exists()


def test_dry_run_tells_the_plan_and_its_time(run_tool, shapes, command, tmp_path):
    done = run_tool(*command(3), '--dry-run', SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    assert '2 runs to go' in done.stdout and 'rpn, seed0: ' in done.stdout
    assert not (tmp_path / 'work').exists()
