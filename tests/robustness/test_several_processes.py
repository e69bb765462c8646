import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
CONFIG = 'configs/nrpn/paper-nrpn-overlap_r18-w16_fpn_demo_shapes.py'
STEPS = 8


@pytest.fixture
def environment(repo):
    helpers = repo / 'tests' / 'helpers'
    paths = [helpers / 'cpu_processes', helpers, *filter(None, [os.environ.get('PYTHONPATH')])]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, paths)), OMP_NUM_THREADS='1')


def free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


def test_two_processes_train_every_kind_of_batch(repo, environment):
    """Without find_unused_parameters: a parameter without a gradient would stop them."""
    command = ['-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}']
    script = repo / 'tests' / 'helpers' / 'several_processes.py'
    done = subprocess.run(
        [sys.executable, *command, script, str(STEPS)], env=environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == dict(differing=0, finite=True, same=True)


def run_script(repo, environment, shapes, name, *args):
    python = os.path.dirname(sys.executable)
    done = subprocess.run(
        ['bash', repo / 'tools' / name, *map(str, args), '--cfg-options', 'env_cfg.dist_cfg.backend=gloo',
         'model_wrapper_cfg.type=MMDistributedDataParallel', 'model_wrapper_cfg.device_ids=None',
         'train_cfg.max_iters=4', 'train_cfg.val_interval=4', 'train_dataloader.batch_size=1',
         'default_hooks.logger.interval=1', 'randomness.seed=0'],
        cwd=repo, capture_output=True, text=True, timeout=300,
        env=dict(environment, PATH=f'{python}:{os.environ["PATH"]}', PORT=free_port(), SHAPES_ROOT=f'{shapes}/'),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def metrics(work_dir):
    (file,) = work_dir.glob('*/*.json')
    return {key: value for key, value in json.loads(file.read_text()).items() if key.startswith('proposal/')}


def test_the_scripts_train_and_measure_as_one_process_does(repo, environment, shapes, run_tool, tmp_path):
    work = tmp_path / 'work'
    run_script(repo, environment, shapes, 'dist_train.sh', CONFIG, 2, '--work-dir', work)
    (log,) = work.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [row for row in rows if 'loss_nrpn_cls' in row]
    assert len(steps) == 4 and all(row['nrpn_false_positives'] >= 0 for row in steps)
    assert any('proposal/AR@100' in row for row in rows)

    run_script(
        repo, environment, shapes, 'dist_test.sh', CONFIG, work / 'iter_4.pth', 2, '--work-dir', tmp_path / 'two'
    )
    done = run_tool(
        'tools/test.py', CONFIG, work / 'iter_4.pth', '--work-dir', tmp_path / 'one', SHAPES_ROOT=f'{shapes}/'
    )
    assert done.returncode == 0, done.stderr
    one, two = metrics(tmp_path / 'one'), metrics(tmp_path / 'two')
    assert one and one == pytest.approx(two, abs=1e-12)
