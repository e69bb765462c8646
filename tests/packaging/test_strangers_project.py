"""Somebody else's project: the wheel in an environment of its own, and a stock config with three lines more."""

import json

import numpy as np
import pytest
from PIL import Image
from pretrained_lite0 import write_package

from mmdet_nrpn import EfficientNetLite0

pytestmark = pytest.mark.slow

# the three lines
CONFIG = """
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(
    rpn_head=dict(type='HardNegativeRPNHead'),
    train_cfg=dict(
        rpn=dict(sampler=dict(type='NRPNSampler', hard_fraction=0.25)),
        rpn_proposal=dict(max_per_img=20),
    ),
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64]),
    roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)),
    test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(score_thr=0.0)),
)
meta, prefix = dict(classes=('box',)), dict(img='images/')
data = dict(data_root='data/', metainfo=meta, ann_file='boxes.json', data_prefix=prefix)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (128, 96)
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline, **data))
val_dataloader = test_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline, **data)
)
val_evaluator = test_evaluator = dict(ann_file='data/boxes.json')
train_cfg = dict(max_epochs=2)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
randomness = dict(seed=0)
param_scheduler = [dict(type='ConstantLR', factor=1.0)]
default_hooks = dict(logger=dict(interval=1))
"""
INFER = """
import json
from mmdet.apis import DetInferencer
inferencer = DetInferencer('project.py', 'work/epoch_2.pth', device='cpu', show_progress=False)
found = inferencer('data/images/0.png', pred_score_thr=0.0)['predictions'][0]
print(json.dumps([len(found['bboxes']), len(found['scores']), len(found['masks'])]))
"""


def make_data(folder):
    """Four images with a box each, in COCO's format."""
    (folder / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    coco = dict(images=[], annotations=[], categories=[dict(id=1, name='box')])
    for i in range(4):
        image = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8)
        image[20:60, 30 + i : 80 + i] = 250
        Image.fromarray(image).save(folder / 'images' / f'{i}.png')
        coco['images'].append(dict(id=i, file_name=f'{i}.png', height=96, width=128))
        corners = [30 + i, 20, 80 + i, 20, 80 + i, 60, 30 + i, 60]
        coco['annotations'].append(
            dict(id=i + 1, image_id=i, category_id=1, bbox=[30 + i, 20, 50, 40], area=2000, iscrowd=0,
                 segmentation=[corners])
        )  # fmt: skip
    (folder / 'boxes.json').write_text(json.dumps(coco))


def test_trains_measures_and_infers(wheel, make_environment, tmp_path):
    environment = make_environment(wheel)
    project = tmp_path / 'project'
    make_data(project / 'data')
    (project / 'project.py').write_text(CONFIG)
    where = environment.run(
        '-c', 'import importlib.util; print(importlib.util.find_spec("mmdet_nrpn").origin)', cwd=project
    )
    assert where.stdout.startswith(str(environment.site)), where.stderr

    tool = 'import runpy, mmdet; runpy.run_path(mmdet.__path__[0] + "/.mim/tools/train.py", run_name="__main__")'
    train = environment.run('-c', tool, 'project.py', '--work-dir', 'work', cwd=project)
    assert train.returncode == 0, train.stderr[-3000:]
    assert 'loss_nrpn_cls' in train.stdout and 'nrpn_false_positives' in train.stdout
    assert 'coco/segm_mAP' in train.stdout

    infer = environment.run('-c', INFER, cwd=project)
    assert infer.returncode == 0, infer.stderr[-3000:]
    boxes, scores, masks = json.loads(infer.stdout.splitlines()[-1])
    assert boxes == scores == masks > 0

    write_package(project, EfficientNetLite0().state_dict())
    photo = environment.run('-m', 'mmdet_nrpn', 'data/images/0.png', cwd=project)
    assert photo.returncode == 0, photo.stderr[-3000:]
    assert photo.stdout.splitlines()[-1] == 'boxes/vis/0.png' and (project / 'boxes' / 'vis' / '0.png').exists()
