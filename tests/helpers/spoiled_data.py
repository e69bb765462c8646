"""Ways to write a data set wrong, as functions of its root, and what the check tells of a run."""

import json
import xml.etree.ElementTree as ET

from as_coco import CLASSES
from check_config import Check
from PIL import Image

SIZE = 128  # of the images


def told(run):
    line = Check()(run)
    assert line is not None
    assert '\n' not in line and 'mine.py: ' in line
    return line


def each_xml(change, split='train', all_of_them=True):
    def spoil(root):
        names = (root / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split()
        for name in names if all_of_them else names[3:4]:
            path = root / 'Annotations' / f'{name}.xml'
            tree = ET.parse(path)
            change(tree.getroot())
            tree.write(path)

    return spoil


def in_json(change, split='train'):
    def spoil(root):
        path = root / 'annotations' / f'{split}.json'
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def set_boxes(root, values):
    for box in root.iter('bndbox'):
        for corner, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), values):
            box.find(corner).text = str(value)


def set_all(part, **values):
    return lambda content: [item.update(values) for item in content[part]]


def drop(part, key):
    return lambda content: content[part][5].pop(key)


def remove_objects(root):
    for item in root.findall('object'):
        root.remove(item)


def set_difficult(root):
    for item in root.findall('object'):
        item.find('difficult').text = '1'


def write(name, content):
    return lambda root: (root / name.format(first(root))).write_bytes(content)


def first(root):
    return (root / 'ImageSets' / 'Main' / 'train.txt').read_text().split()[3]


def each_text(path, text, all_of_them=True):
    """Set the text of an element in the XML files."""
    return each_xml(lambda root: [setattr(item, 'text', text) for item in root.iterfind(path)], 'train', all_of_them)


def in_list(change):
    def spoil(root):
        path = root / 'ImageSets' / 'Main' / 'train.txt'
        path.write_text(change(path.read_text()))

    return spoil


def rename_images(ending, form=None):
    def spoil(root):
        for path in sorted((root / 'JPEGImages').glob('*.jpg')):
            Image.open(path).save(path.with_suffix('.tmp'), form or 'JPEG')
            path.unlink()
            path.with_suffix('.tmp').rename(path.with_suffix(ending))

    return spoil


def dangle(name):
    def spoil(root):
        path = root / name.format(first(root))
        path.rename(path.with_name('moved'))
        path.symlink_to('gone')

    return spoil


def each_image(change, every=1):
    def spoil(root):
        for path in sorted((root / 'JPEGImages').glob('*.jpg'))[::every]:
            change(path)

    return spoil


def turn(path):
    """A square image would be as large: half of it, with an orientation that turns it when it is read."""
    image = Image.open(path).resize((SIZE, SIZE // 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


def halve(path):
    Image.open(path).resize((SIZE // 2, SIZE // 2)).save(path)


def both(*spoils):
    return lambda root: [spoil(root) for spoil in spoils]


def set_size(width, height, all_of_them=True):
    return both(each_text('size/width', str(width), all_of_them), each_text('size/height', str(height), all_of_them))


def of_class(name, **values):
    """Change the annotations of one of COCO's classes."""
    number = CLASSES.index(name)

    def change(content):
        for item in content['annotations']:
            if item['category_id'] == number:
                item.update(values)

    return in_json(change)


def categories(*names, shift=0):
    """COCO's categories with other names, in another order, or with one before them."""

    def change(content):
        content['categories'] = [dict(id=i, name=name) for i, name in enumerate(names)]
        for item in content['annotations']:
            item['category_id'] += shift

    return change


def as_corners(content):
    for item in content['annotations']:
        x, y, width, height = item['bbox']
        item['bbox'] = [x, y, x + width, y + height]


def top_left(content):
    """As corners, and so small and near the corner that they fit as they are, too: the area tells."""
    for item in content['annotations']:
        item.update(bbox=[5, 6, 20, 24], area=15 * 18)


def one_right(content):
    content['annotations'][0]['bbox'] = [90, 90, 20, 20]


def in_gb2312(root):
    path = root / 'Annotations' / f'{first(root)}.xml'
    path.write_bytes(b'<?xml version="1.0" encoding="gb2312"?>' + path.read_bytes())
