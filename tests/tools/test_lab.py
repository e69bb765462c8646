import json
import os
import shlex
import subprocess

import numpy as np
import pytest
from mmengine.config import Config


def store(folder, num):
    """Made features of ``num`` images of 64x64 with one object each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, (channels, size) in enumerate(((40, 8), (112, 4), (320, 2))):
        np.save(folder / f'level{i}.npy', rng.normal(size=(num, channels, size, size)).astype(np.float16))
    meta = dict(img_shape=[64, 64], ori_shape=[64, 64], pad_shape=[64, 64], scale_factor=[1.0, 1.0], flip=False)
    objects = dict(gt=dict(bboxes=[[8, 8, 40, 40]], labels=[0]), ignored=dict(bboxes=[], labels=[]))
    samples = [dict(meta=dict(meta, img_id=i, img_path=f'{i}.jpg'), **objects) for i in range(num)]
    (folder / 'samples.json').write_text(json.dumps(samples))


@pytest.mark.slow
def test_rows_of_a_file_are_configs_and_one_is_trained(run_tool, repo, tmp_path):
    for part in ('train', 'train-flipped', 'val'):
        store(tmp_path / 'features' / part, 8)
    config = os.path.relpath(repo / 'configs' / 'nrpn', tmp_path)
    rows = {
        '*': {'train_cfg.max_iters': 3, 'train_dataloader.batch_size': 2},
        'stock': {'config': f'{config}/rpn_efficientnet-lite0_fpn_lab_voc07.py'},
        'half': {
            'config': f'{config}/paper-nrpn_efficientnet-lite0_fpn_lab_voc07.py',
            'model.train_cfg.rpn.sampler.hard_fraction': 0.5,
            'train_dataloader.batch_size': 4,
        },
    }
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    args = ['tools/lab.py', tmp_path / 'rows.json', '--seeds', 0, '--work-dir', tmp_path / 'work']
    listed = run_tool(*args, '--list', FEATURES=f'{tmp_path}/features/')
    assert listed.returncode == 0, listed.stderr
    stock, half = (Config.fromfile(tmp_path / 'work' / name / 'seed0.py') for name in ('stock', 'half'))
    assert stock.train_cfg.max_iters == half.train_cfg.max_iters == 3
    assert half.model.train_cfg.rpn.sampler.hard_fraction == 0.5
    assert [cfg.train_dataloader.batch_size for cfg in (stock, half)] == [2, 4]

    done = subprocess.run(shlex.split(listed.stdout.splitlines()[1]), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = run_tool(*args, '--table', FEATURES=f'{tmp_path}/features/')
    assert table.returncode == 0, table.stderr
    written = (tmp_path / 'work' / 'table.md').read_text()
    assert '| half |' in written and f'- command: `python tools/lab.py {tmp_path}/rows.json --seeds 0' in written


def test_a_row_without_its_config_is_named(run_tool, tmp_path):
    (tmp_path / 'rows.json').write_text(json.dumps({'mine': {'config': 'nowhere.py'}}))
    done = run_tool('tools/lab.py', tmp_path / 'rows.json', '--work-dir', tmp_path / 'work')
    assert done.returncode == 2 and "row 'mine'" in done.stderr and 'nowhere.py' in done.stderr
