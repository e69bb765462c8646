"""Configs of the lab build, learn and predict on stored features, and rows name configs."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from benchmark.runs import rows_of_file
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs, demo_track_inputs
from mmengine.config import Config

import lab  # noqa: F401 (registers)

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / 'lab' / 'configs').glob('*.py'))
ROWS = sorted((ROOT / 'lab' / 'results').glob('*.json'))
LEVELS = ((40, 8), (112, 16), (320, 32))  # channels and strides of the backbone
# records: they name configs and settings that are gone
GONE = ('ablation', 'all_anchors', 'long', 'more', 'val')


def synthetic_frames(num):
    """Frames of a sequence, with two objects each."""
    key_frame = [0] if num > 1 else None
    batch = demo_track_inputs(1, num, key_frames_inds=key_frame, image_shapes=(3, 64, 96), num_items=[2])
    for frame in batch['data_samples'][0]:
        frame.ignored_instances.bboxes = torch.from_numpy(frame.ignored_instances.bboxes)  # as data sets have them
    return batch


@pytest.mark.slow
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_trains_a_step_and_predicts(path):
    cfg = Config.fromfile(path).model
    cfg.get('detector', cfg).backbone.init_cfg = None  # offline
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    batch = demo_mm_inputs(1, [[3, 64, 96]], num_items=[2], num_classes=2)
    batch['data_samples'][0].set_metainfo(dict(pad_shape=(64, 96)))
    if 'lab' in path.stem:
        batch['inputs'] = [[torch.rand(channels, 64 // s, 96 // s)] for channels, s in LEVELS]
    if 'qdtrack' in path.stem:
        batch = synthetic_frames(2)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    model.eval()
    is_tracker = 'track' in path.stem
    batch = synthetic_frames(1) if is_tracker else batch
    with torch.no_grad():
        (result,) = model(**model.data_preprocessor(batch, False), mode='predict')
    assert 'rcnn' in path.stem or len(result.pred_instances) > 0
    assert not is_tracker or 'pred_track_instances' in result[0]


@pytest.mark.parametrize('file', [file for file in ROWS if file.stem not in GONE], ids=lambda path: path.stem)
def test_rows_are_what_the_benchmark_takes(file):
    assert rows_of_file(file)


def store(folder, num):
    """Made features of ``num`` images of 64x64 with one object each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, (channels, stride) in enumerate(LEVELS):
        size = 64 // stride
        np.save(folder / f'level{i}.npy', rng.normal(size=(num, channels, size, size)).astype(np.float16))
    meta = dict(img_shape=[64, 64], ori_shape=[64, 64], pad_shape=[64, 64], scale_factor=[1.0, 1.0], flip=False)
    objects = dict(gt=dict(bboxes=[[8, 8, 40, 40]], labels=[0]), ignored=dict(bboxes=[], labels=[]))
    samples = [dict(meta=dict(meta, img_id=i, img_path=f'{i}.jpg'), **objects) for i in range(num)]
    (folder / 'samples.json').write_text(json.dumps(samples))


@pytest.mark.slow
def test_a_row_on_stored_features_is_trained_and_measured(run_tool, tmp_path):
    for part in ('train', 'train-flipped', 'val'):
        store(tmp_path / 'features' / part, 8)
    config = ROOT / 'lab' / 'configs' / 'nrpn-focal_efficientnet-lite0_fpn_lab_voc07.py'
    short = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'train_dataloader.batch_size': 2}
    (tmp_path / 'rows.json').write_text(json.dumps({'*': short, 'mine': {'config': os.path.relpath(config, tmp_path)}}))
    args = ['tools/benchmark', '--rows', tmp_path / 'rows.json', '--seeds', 0, '--work-dir', tmp_path / 'work']
    done = run_tool(*args, FEATURES=f'{tmp_path}/features/')
    assert done.returncode == 0, done.stderr[-3000:]
    assert 0 <= pd.read_csv(tmp_path / 'work' / 'runs.csv', comment='#').loc[0, 'AR@100'] <= 1
