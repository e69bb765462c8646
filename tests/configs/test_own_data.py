"""The configs for own data, copied and changed as their first lines say, on data that are neither VOC nor COCO."""

import json

import pytest
from as_coco import CLASSES, as_coco

SMALL = [
    'train_cfg.max_epochs=1',
    'model.backbone.depth=18',
    'model.backbone.init_cfg=None',
    'model.neck.in_channels=[64,128,256,512]',
    'train_dataloader.dataset.pipeline.2.scale=(128,128)',
    'val_dataloader.dataset.pipeline.1.scale=(128,128)',
    'test_dataloader.dataset.pipeline.1.scale=(128,128)',
    'model.train_cfg.rpn_proposal.max_per_img=20',
    'model.test_cfg.rpn.max_per_img=20',
    'default_hooks.logger.interval=1',
]


@pytest.mark.slow
@pytest.mark.parametrize('form', ['voc', 'coco'])
def test_trains_and_measures(run_tool, repo, shapes, tmp_path, form):
    text = (repo / 'configs' / 'nrpn' / f'nrpn_faster-rcnn_r50_fpn_1x_own-{form}.py').read_text()
    changes = {"'data/mine/'": f"'{shapes}/'", "('cat', 'dog')": str(CLASSES), "'./": f"'{repo}/configs/nrpn/"}
    if form == 'coco':
        for split in ('train', 'val'):
            as_coco(shapes, split)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / 'mine.py').write_text(text)
    done = run_tool('tools/train.py', tmp_path / 'mine.py', '--work-dir', tmp_path / 'work', '--cfg-options', *SMALL)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len([row for row in rows if 'loss_nrpn_cls' in row]) == 6  # 12 images, 2 a step
    assert any(key.endswith('mAP') for key in rows[-1])
