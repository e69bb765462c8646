import fcntl
import json
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from benchmark.timing import time_training
from mmengine.config import Config
from stack import REPEATING_WORKERS

pytestmark = pytest.mark.slow

CONFIG = """
_base_ = ['{base}']
train_cfg = dict(max_iters={iters}, val_interval={iters})
train_dataloader = dict(batch_size=2, num_workers={workers}, persistent_workers={workers} > 0)
val_dataloader = dict(num_workers=0, persistent_workers=False)
val_evaluator = [dict(type='VOCMetric', metric='mAP')]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2, out_dir='{checkpoints}'))
"""


@pytest.fixture
def command(repo, shapes, tmp_path):
    """The benchmark's arguments for the two demo configs, cut short."""

    def make(iters):
        configs = []
        for name in ('rpn', 'paper-nrpn-overlap'):
            base = repo / 'configs' / 'nrpn' / f'{name}_r18-w16_fpn_demo_shapes.py'
            configs.append(tmp_path / f'{name}.py')
            text = CONFIG.format(base=base, iters=iters, workers=REPEATING_WORKERS, checkpoints=tmp_path / 'shared')
            configs[-1].write_text(text)
        return ['tools/benchmark', *configs, '--work-dir', tmp_path / 'work', '--seeds', 0]

    return make


def test_trains_measures_compares_and_does_not_repeat(run_tool, repo, shapes, command, tmp_path):
    """One run as a cluster would start it, without git; then all of them, whose configs write to one folder."""
    tool, stock, ours, *options = command(3)
    work = tmp_path / 'work'
    env, bare = dict(SHAPES_ROOT=f'{shapes}/'), {**os.environ, 'PATH': f'{tmp_path}/bin'}
    with open(ours, 'a') as file:  # that live on where the training ends and the measuring begins
        file.write('train_dataloader.update(num_workers=1, persistent_workers=True)\n')
        file.write('val_dataloader.update(num_workers=1, persistent_workers=True)\n')
    listed = run_tool(tool, stock, ours, *options, '--list', PATH='/nowhere', **env)
    assert listed.returncode == 0, listed.stderr
    first, _ = map(shlex.split, listed.stdout.splitlines())
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'tee').symlink_to(shutil.which('tee'))
    assert subprocess.run(first, cwd=tmp_path, env=bare).returncode == 0
    result = json.loads((work / 'rpn' / 'seed0' / 'result.json').read_text())
    assert result['environment']['commit'] == 'unknown'

    # one builds, and fails in its first step, and one's loss becomes NaN: that must not take the others down
    broken = tmp_path / 'broken.py'
    broken.write_text(f"_base_ = ['{stock}']\nmodel = dict(train_cfg=dict(rpn=dict(allowed_border='typo')))\n")
    diverging = tmp_path / 'diverging.py'
    diverging.write_text(f"""
_base_ = ['{stock}']
param_scheduler = None
optim_wrapper = dict(optimizer=dict(lr=1e30))
""")
    done = run_tool(tool, stock, broken, diverging, ours, *options, '--jobs', 2, **env)
    assert done.returncode == 1 and done.stdout.count('finished before') == 1
    assert 'broken: seeds [0] missing' in done.stdout and 'diverging: seeds [0] missing' in done.stdout
    assert 'diverging, seed 0 failed: the loss became infinite or NaN; lower optim_wrapper.optimizer.lr' in done.stderr
    # the error and its log are named, and the log has what went to the error stream
    (failed,) = [line for line in done.stderr.splitlines() if line.startswith('broken, seed 0 failed: ')]
    assert 'TypeError' in failed and str(work / 'broken' / 'seed0.log') in failed
    assert 'Traceback (most recent call last)' in (work / 'broken' / 'seed0.log').read_text()
    assert {path.name for path in work.iterdir() if path.is_file()} == {'runs.csv', 'recall.png'}
    assert 'paper-nrpn-overlap, difference' in done.stdout and 'pascal_voc/mAP' in done.stdout
    runs = pd.read_csv(work / 'runs.csv', comment='#').set_index('name')
    assert runs['pascal_voc/AP50'].notna().all() and not (tmp_path / 'shared').exists()
    assert all((work / name / 'seed0' / 'iter_3.pth').exists() for name in runs.index)
    start = time.monotonic()
    again = run_tool(tool, stock, ours, *options, **env)
    assert again.returncode == 0 and again.stdout.count('finished before') == 2 and time.monotonic() - start < 30

    printed = subprocess.run(
        [sys.executable, *map(str, [tool, stock, ours, *options]), '--table'],
        cwd=repo, env={**os.environ, **env, 'PYTHONIOENCODING': 'ascii'}, capture_output=True,
    )  # fmt: skip
    assert printed.returncode == 0 and b'? 95%' in printed.stdout, printed.stderr

    checkpoint = work / 'rpn' / 'seed0' / 'iter_3.pth'
    only = run_tool(tool, stock, '--work-dir', tmp_path / 'only', '--checkpoints', checkpoint, **env)
    assert only.returncode == 0, only.stderr
    (measured,) = pd.read_csv(tmp_path / 'only' / 'runs.csv', comment='#')['AR@100']
    assert measured == runs.loc['rpn', 'AR@100']


def wait_for_lock(folder, seconds=120):
    """Until no process of a run is left: each holds the lock on its folder for as long as it lives."""
    deadline = time.monotonic() + seconds
    with open(folder.with_suffix('.lock')) as lock:
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_killed_it_goes_on(run_tool, repo, shapes, command, tmp_path):
    """Killed, a run leaves its training alone; another keeps off until that ends, and then does what is left."""
    tool, _, ours, *options = command(20)
    folder = tmp_path / 'work' / 'paper-nrpn-overlap' / 'seed0'
    listed = run_tool(tool, ours, *options, '--list', SHAPES_ROOT=f'{shapes}/')
    assert listed.returncode == 0, listed.stderr

    def start():
        return subprocess.Popen(
            shlex.split(listed.stdout), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    process = start()
    deadline = time.monotonic() + 120
    while not (folder / 'last_checkpoint').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()  # alone
    process.wait()
    again = start()
    _, said = again.communicate(timeout=120)
    assert again.returncode == 1 and 'is being run by another process' in said
    os.killpg(process.pid, signal.SIGKILL)  # the training, too
    wait_for_lock(folder)
    assert not (folder / 'iter_20.pth').exists() and not (folder / 'result.json').exists()
    done = start()
    _, said = done.communicate(timeout=300)
    assert done.returncode == 0, said
    assert 'resumed epoch' in folder.with_suffix('.log').read_text() and (folder / 'result.json').exists()


def test_terminated_it_ends_its_training(repo, shapes, command, tmp_path):
    tool, _, ours, *options = command(500)
    folder = tmp_path / 'work' / 'paper-nrpn-overlap' / 'seed0'
    process = subprocess.Popen(
        [sys.executable, *map(str, [tool, ours, *options])],
        cwd=repo, env={**os.environ, 'SHAPES_ROOT': f'{shapes}/'}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (folder / 'last_checkpoint').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    process.wait()
    wait_for_lock(folder)
    assert not (folder / 'iter_500.pth').exists()


def test_a_wrong_config_stops_all_before_any_training(run_tool, shapes, command, tmp_path):
    tool, stock, ours, *options = command(3)
    broken = tmp_path / 'broken.py'
    broken.write_text(f"_base_ = ['{ours}']\nmodel = dict(rpn_head=dict(type='HardNegativRPNHead'))\n")
    done = run_tool(tool, stock, broken, *options, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1
    assert "type='HardNegativRPNHead' is not registered" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / 'work').exists()


def test_dry_run_tells_the_plan_and_its_time(run_tool, shapes, command, tmp_path):
    done = run_tool(*command(3), '--dry-run', SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    assert '2 runs to go' in done.stdout and 'rpn, seed 0: 3 steps of ' in done.stdout
    assert not (tmp_path / 'work').exists()


def test_images_are_timed_as_they_are_trained_on(repo, shapes, monkeypatch):
    """A teacher's batches have labelled and unlabelled images; the first of all are labelled."""
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')
    name = 'soft-teacher_faster-rcnn_r18-w16_fpn_demo_semi-shapes'
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / f'{name}.py')
    labelled, unlabelled = cfg.train_dataloader.dataset.datasets
    labelled.indices, unlabelled.indices = list(range(8)), list(range(8, 12))
    cfg.train_dataloader.batch_size = cfg.train_dataloader.sampler.batch_size = 2
    seconds, steps = time_training(cfg, 0)
    assert seconds > 0 and steps == cfg.train_cfg.max_iters


def test_batch_augmentations_that_ask_for_the_step_are_timed(repo, shapes, monkeypatch):
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / 'rpn_r18-w16_fpn_demo_shapes.py')
    cfg.model.data_preprocessor.batch_augments = [dict(type='BatchSyncRandomResize', random_size_range=(64, 96))]
    assert time_training(cfg, 0)[0] > 0


DEMO = 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py'


def test_a_tables_command_can_be_given_again(run_tool, tmp_path):
    work = tmp_path / 'my work'
    work.mkdir()
    done = run_tool('tools/benchmark', DEMO, '--table', '--work-dir', work)
    assert done.returncode == 0 and 'rpn: seeds [0, 1] missing' in done.stdout, done.stderr
    assert f"# command: python tools/benchmark {DEMO} --table --work-dir '{work}'" in (work / 'runs.csv').read_text()


def test_gpus_and_cores_are_shared(repo, monkeypatch):
    environment = runpy.run_path(str(repo / 'tools' / 'benchmark'), run_name='tool')['environment']
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,7')
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    assert [environment(slot, 3)['CUDA_VISIBLE_DEVICES'] for slot in range(3)] == ['4', '7', '4']
    assert environment(0, 1)['CUDA_VISIBLE_DEVICES'] == '4,7'
    assert environment(0, 10**6)['OMP_NUM_THREADS'] == '1'
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert environment(0, 2)['OMP_NUM_THREADS'] == '3'
