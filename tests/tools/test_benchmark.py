import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from benchmark.__main__ import environment, execute, time_training
from mmengine.config import Config
from stack import REPEATING_WORKERS

pytestmark = pytest.mark.slow
DEMO = 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py'

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
    broken, diverging = tmp_path / 'broken.py', tmp_path / 'diverging.py'
    broken.write_text(f"_base_ = ['{stock}']\nmodel = dict(train_cfg=dict(rpn=dict(allowed_border='typo')))\n")
    faster = 'param_scheduler = None\noptim_wrapper = dict(optimizer=dict(lr=1e30))'
    diverging.write_text(f"_base_ = ['{stock}']\n{faster}\n")
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


def test_terminated_it_ends_its_training_and_goes_on(run_tool, repo, shapes, command, tmp_path):
    """Nobody else touches the run's folder for as long as its process or one of its workers lives."""
    words, env = command(40), {**os.environ, 'SHAPES_ROOT': f'{shapes}/'}
    tool, _, ours, *options = map(str, words)
    folder = tmp_path / 'work' / 'paper-nrpn-overlap' / 'seed0'
    process = subprocess.Popen([sys.executable, tool, ours, *options], cwd=repo, env=env, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (folder / 'last_checkpoint').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    process.wait()
    with open(folder.with_suffix('.lock')) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # waits
        assert not (folder / 'iter_40.pth').exists() and not (folder / 'result.json').exists()
        refused = run_tool('tools/benchmark/execute.py', folder.with_suffix('.py'))
        assert refused.returncode == 1 and 'is being run by another process' in refused.stderr
    done = run_tool(tool, ours, *options, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    assert 'resumed epoch' in folder.with_suffix('.log').read_text() and (folder / 'result.json').exists()


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


def test_steps_are_timed_as_they_are_trained(repo, shapes, monkeypatch):
    """A teacher's batches have labelled and unlabelled images, and batch augmentations ask for the step."""
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')
    name = 'soft-teacher_faster-rcnn_r18-w16_fpn_demo_semi-shapes'
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / f'{name}.py')
    labelled, unlabelled = cfg.train_dataloader.dataset.datasets
    labelled.indices, unlabelled.indices = list(range(8)), list(range(8, 12))  # the first of all are labelled
    cfg.train_dataloader.batch_size = cfg.train_dataloader.sampler.batch_size = 2
    seconds, steps = time_training(cfg, 0)
    assert seconds > 0 and steps == cfg.train_cfg.max_iters
    cfg = Config.fromfile(repo / DEMO)
    cfg.model.data_preprocessor.batch_augments = [dict(type='BatchSyncRandomResize', random_size_range=(64, 96))]
    assert time_training(cfg, 0)[0] > 0


def test_a_tables_command_can_be_given_again(run_tool, tmp_path):
    work = tmp_path / 'my work'
    work.mkdir()
    done = run_tool('tools/benchmark', DEMO, '--table', '--work-dir', work)
    assert done.returncode == 0 and 'rpn: seeds [0, 1] missing' in done.stdout, done.stderr
    assert f"# command: python tools/benchmark {DEMO} --table --work-dir '{work}'" in (work / 'runs.csv').read_text()


def test_a_gpu_has_one_run_at_a_time(monkeypatch, tmp_path):
    """The first run is the longest; the others share the other GPU."""
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,7')
    say = "import os, sys, time; time.sleep(float(sys.argv[1])); print(os.environ['CUDA_VISIBLE_DEVICES'])"

    def run(number, seconds):
        command = f'{shlex.quote(sys.executable)} -c {shlex.quote(say)} {seconds} > {tmp_path}/{number}'
        return SimpleNamespace(
            name='a', seed=number, is_finished=lambda: number == 0, command=lambda: ['sh', '-c', command]
        )

    assert execute([run(number, 2 if number == 1 else 0) for number in range(5)], 2) == 0
    first, *others = [(tmp_path / str(number)).read_text() for number in range(1, 5)]
    assert {first} | {*others} == {'4\n', '7\n'} and first not in others


def test_gpus_and_cores_are_shared(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,7')
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    assert [environment(slot, 3)['CUDA_VISIBLE_DEVICES'] for slot in range(3)] == ['4', '7', '4']
    assert environment(0, 1)['CUDA_VISIBLE_DEVICES'] == '4,7'
    assert environment(0, 10**6)['OMP_NUM_THREADS'] == '1'
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert environment(0, 2)['OMP_NUM_THREADS'] == '3'
