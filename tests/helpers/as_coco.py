"""Write a data set in VOC's format as COCO's beside it: annotations/train.json, train/ and so for val.

python as_coco.py DATA_ROOT
"""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

CLASSES = ('disc', 'square', 'triangle')


def as_coco(root: Path, split: str) -> None:
    images, annotations = [], []
    for number, name in enumerate((root / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split()):
        tree = ET.parse(root / 'Annotations' / f'{name}.xml')
        size = {key: int(tree.find(f'size/{key}').text) for key in ('width', 'height')}
        file = next((root / 'JPEGImages').glob(f'{name}.*')).name
        images.append(dict(id=number, file_name=file, **size))
        for obj in tree.findall('object'):
            x1, y1, x2, y2 = (float(obj.find(f'bndbox/{key}').text) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
            box = dict(bbox=[x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1], area=(x2 - x1 + 1) * (y2 - y1 + 1), iscrowd=0)
            category = CLASSES.index(obj.find('name').text)
            annotations.append(dict(id=len(annotations) + 1, image_id=number, category_id=category, **box))
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES)]
    (root / 'annotations').mkdir(exist_ok=True)
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'annotations' / f'{split}.json').write_text(json.dumps(content))
    (root / split).symlink_to('JPEGImages', target_is_directory=True)


if __name__ == '__main__':
    for name in ('train', 'val'):
        as_coco(Path(sys.argv[1]), name)
