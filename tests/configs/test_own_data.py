"""The configs for own data, copied and changed as their first lines say, on data that are neither VOC nor COCO."""

import json
import xml.etree.ElementTree as ET

import pytest

SMALL = [
    'train_cfg.max_epochs=1',
    'model.backbone.depth=18',
    'model.backbone.init_cfg=None',
    'model.neck.in_channels=[64,128,256,512]',
    'train_dataloader.dataset.pipeline.2.scale=(128,128)',
    'val_dataloader.dataset.pipeline.1.scale=(128,128)',
    'test_dataloader.dataset.pipeline.1.scale=(128,128)',
    'default_hooks.logger.interval=1',
]
CLASSES = "('disc', 'square', 'triangle')"


def as_coco(root, split):
    """Write a split of a data set in VOC's format as COCO's."""
    classes, images, annotations = eval(CLASSES), [], []
    for number, name in enumerate((root / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split()):
        tree = ET.parse(root / 'Annotations' / f'{name}.xml')
        size = {key: int(tree.find(f'size/{key}').text) for key in ('width', 'height')}
        file = next((root / 'JPEGImages').glob(f'{name}.*')).name
        images.append(dict(id=number, file_name=file, **size))
        for obj in tree.findall('object'):
            x1, y1, x2, y2 = (float(obj.find(f'bndbox/{key}').text) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
            box = dict(bbox=[x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1], area=(x2 - x1 + 1) * (y2 - y1 + 1), iscrowd=0)
            category = classes.index(obj.find('name').text)
            annotations.append(dict(id=len(annotations) + 1, image_id=number, category_id=category, **box))
    categories = [dict(id=i, name=name) for i, name in enumerate(classes)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / f'{split}.json').write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.parametrize('form', ['voc', 'coco'])
def test_trains_and_measures(run_tool, repo, shapes, tmp_path, form):
    text = (repo / 'configs' / 'nrpn' / f'nrpn_faster-rcnn_r50_fpn_1x_own-{form}.py').read_text()
    changes = {"'data/mine/'": f"'{shapes}/'", "('cat', 'dog')": CLASSES, "'./": f"'{repo}/configs/nrpn/"}
    if form == 'coco':
        for split in ('train', 'val'):
            as_coco(shapes, split)
        changes.update({"'train/'": "'JPEGImages/'", "'val/'": "'JPEGImages/'", 'annotations/': ''})
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / 'mine.py').write_text(text)
    done = run_tool('tools/train.py', tmp_path / 'mine.py', '--work-dir', tmp_path / 'work', '--cfg-options', *SMALL)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len([row for row in rows if 'loss_nrpn_cls' in row]) == 6  # 12 pictures, 2 a step
    assert any(key.endswith('mAP') for key in rows[-1])
