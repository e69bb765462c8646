import pytest
import torch

from lab import FeatureDataset

LINES = """
_base_ = ['{repo}/configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py']
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
"""


@pytest.mark.slow
def test_stores_train_mirror_images_and_val_and_refuses_others(run_tool, repo, shapes, tmp_path):
    config, out = tmp_path / 'mine.py', tmp_path / 'features'
    config.write_text(LINES.format(repo=repo))
    args = ['lab/scripts/store_features.py', config, out]
    done = run_tool(*args, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    assert f'{out}/train:   0%' in done.stderr  # progress, where there is no terminal, too
    plain, flipped, val = (FeatureDataset([out / name]) for name in ('train', 'train-flipped', 'val'))
    assert (len(plain), len(flipped), len(val)) == (12, 12, 4)
    boxes, mirrored = (d[0]['data_samples'].gt_instances.bboxes for d in (plain, flipped))
    torch.testing.assert_close(mirrored[:, 0], 128 - boxes[:, 2])
    torch.testing.assert_close(mirrored[:, 1], boxes[:, 1])

    again = run_tool(*args, SHAPES_ROOT=f'{shapes}/')
    assert again.returncode == 0 and '%' not in again.stderr  # nothing is made twice
    config.write_text(LINES.format(repo=repo).replace('(128, 128)', '(96, 96)'))
    other = run_tool(*args, SHAPES_ROOT=f'{shapes}/')
    assert other.returncode == 2 and 'features of something else' in other.stderr
