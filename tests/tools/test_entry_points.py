import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
CONFIG = 'configs/nrpn/nrpn-overlap_r18-w16_fpn_demo_shapes.py'
SHORT = [
    '--cfg-options', 'train_cfg.max_iters=3', 'train_cfg.val_interval=3', 'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1', 'randomness.seed=0',
]  # fmt: skip


def logged_losses(work_dir):
    (file,) = work_dir.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row['loss'] for row in rows if 'loss' in row]


def test_train_then_test_then_draw(run_tool, shapes, tmp_path):
    work_dir = tmp_path / 'work'
    train = run_tool('tools/train.py', CONFIG, '--work-dir', work_dir, *SHORT, SHAPES_ROOT=f'{shapes}/')
    assert train.returncode == 0, train.stderr
    assert len(logged_losses(work_dir)) == 3
    test = run_tool('tools/test.py', CONFIG, work_dir / 'iter_3.pth', '--work-dir', work_dir, SHAPES_ROOT=f'{shapes}/')
    assert test.returncode == 0, test.stderr
    assert 'proposal/AR@100' in test.stdout
    picture = tmp_path / 'hard.png'
    draw = run_tool('tools/analysis_tools/draw_hard_negatives.py', work_dir, '--out', picture, SHAPES_ROOT=f'{shapes}/')
    assert draw.returncode == 0, draw.stderr
    assert picture.read_bytes().startswith(b'\x89PNG')


FASTER = """
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '{configs}/_base_/datasets/shapes.py',
          '{configs}/_base_/schedules/schedule_demo.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64]),
    rpn_head=dict(type='HardNegativeRPNHead'),
    roi_head=dict(bbox_head=dict(num_classes=3)),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler'))),
)
"""


def test_the_same_with_a_second_stage(run_tool, repo, shapes, tmp_path):
    config, work_dir, picture = tmp_path / 'faster.py', tmp_path / 'work', tmp_path / 'hard.png'
    config.write_text(FASTER.format(configs=repo / 'configs' / 'nrpn'))
    train = run_tool('tools/train.py', config, '--work-dir', work_dir, *SHORT, SHAPES_ROOT=f'{shapes}/')
    assert train.returncode == 0, train.stderr
    assert len(logged_losses(work_dir)) == 3
    draw = run_tool('tools/analysis_tools/draw_hard_negatives.py', work_dir, '--out', picture, SHAPES_ROOT=f'{shapes}/')
    assert draw.returncode == 0, draw.stderr
    assert picture.exists()


def test_mim_trains_the_same(run_tool, shapes, tmp_path):
    mim = shutil.which('mim', path=str(Path(sys.executable).parent))
    if mim is None:
        pytest.skip('mim is not installed')
    plain, by_mim = tmp_path / 'plain', tmp_path / 'mim'
    done = run_tool('tools/train.py', CONFIG, '--work-dir', plain, *SHORT, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    package = (
        'onedl-mmdetection'
        if subprocess.run([mim, 'list'], capture_output=True).stdout.find(b'onedl') >= 0
        else 'mmdet'
    )
    done = run_tool(mim, 'train', package, CONFIG, '--gpus', 0, '--work-dir', by_mim, *SHORT, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    assert logged_losses(by_mim) == logged_losses(plain)
