"""mim by a config's path and by its bare name. Which of the two mims finds a bare name where: docs/get_started.md."""

import importlib.util
import json

import pytest
from mmengine.config import Config

CONFIG = 'rpn_r18-w16_fpn_demo_shapes.py'
SHORT = [
    '--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
    'default_hooks.logger.interval=1', 'default_hooks.checkpoint.interval=2',
]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec('mim') is None, reason='mim is not installed'),
]


def losses(work_dir):
    (file,) = work_dir.glob('*/vis_data/scalars.json')
    return [row['loss'] for row in map(json.loads, file.read_text().splitlines()) if 'loss' in row]


def test_by_path_and_by_bare_name(sources, make_environment, mmdet_package, shapes, tmp_path, request):
    """onedl-mim finds bare names in an editable install, openmim in an installed wheel; a path always works."""
    is_onedl = mmdet_package.startswith('onedl')
    environment = make_environment(*(['-e', sources] if is_onedl else [request.getfixturevalue('wheel')]))
    mim = ('-m', 'mim')
    env = dict(SHAPES_ROOT=f'{shapes}/')

    by_name = tmp_path / 'by_name'
    command = [*mim, 'train', 'mmdet_nrpn', CONFIG, '--gpus', 0, '--work-dir', by_name, *SHORT]
    done = environment.run(*command, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(losses(by_name)) == 2

    config = (
        (sources / 'configs' if is_onedl else environment.site / 'mmdet_nrpn' / '.mim' / 'configs') / 'nrpn' / CONFIG
    )
    checkpoint = ['--checkpoint', by_name / 'iter_2.pth']
    command = [*mim, 'test', mmdet_package, config, *checkpoint, '--gpus', 0, '--work-dir', by_name]
    done = environment.run(*command, **env)
    assert done.returncode == 0 and 'proposal/AR@100' in done.stdout, done.stdout + done.stderr

    # gridsearch takes keys alone that stand in the config
    key, grid = 'model.train_cfg.rpn.assigner.pos_iou_thr', tmp_path / 'grid'
    nrpn = config.with_name(CONFIG.replace('rpn_', 'nrpn-focal_'))
    command = [*mim, 'gridsearch', mmdet_package, nrpn, '--gpus', 0, '--work-dir', grid]
    done = environment.run(*command, '--search-args', f'--{key} 0.6', *SHORT, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    searched = tmp_path / f'grid_search_{key}_0.6'
    assert len(losses(searched)) == 2
    (ran,) = searched.glob('*.py')
    assert Config.fromfile(ran).model.train_cfg.rpn.assigner.pos_iou_thr == 0.6

    done = environment.run(*mim, 'search', 'mmdet_nrpn', '--field', 'config')
    assert done.returncode == 0 and 'nrpn-focal_efficientnet-lite0_fpn_320px_voc07' in done.stdout, (
        done.stdout + done.stderr
    )
