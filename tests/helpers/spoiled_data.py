"""Ways to write a data set wrong, as functions of its root, and what the check tells of a run."""

import json
import xml.etree.ElementTree as ET

from check_config import problems
from PIL import Image

SIZE = 128  # of the images
LIST, JSON = 'ImageSets/Main/train.txt', 'annotations/train.json'
XML, IMAGE = 'Annotations/{}.xml', 'JPEGImages/{}.jpg'  # of the image that is spoilt alone


def told(run):
    """The line that the check ends with, None if there is none."""
    lines = problems([run])
    assert len(lines) <= 1 and all('\n' not in line and 'mine.py: ' in line for line in lines)
    return lines[0] if lines else None


def one_of(root):
    return (root / LIST).read_text().split()[3]


def both(*spoils):
    return lambda root: [spoil(root) for spoil in spoils]


def in_xml(change, split='train', one=False):
    """Change the root of each file, or of one alone."""

    def spoil(root):
        names = (root / f'ImageSets/Main/{split}.txt').read_text().split()
        for name in names[3:4] if one else names:
            tree = ET.parse(root / XML.format(name))
            change(tree.getroot())
            tree.write(root / XML.format(name))

    return spoil


def texts(path, *values, split='train', one=False):
    """Set the texts of elements, a value for each in turn."""

    def change(root):
        for number, item in enumerate(root.iterfind(path)):
            item.text = values[number % len(values)]

    return in_xml(change, split, one)


def sizes(width, height, one=False):
    return texts('size/*', str(width), str(height), '3', one=one)


def boxes(*values, one=False):
    return texts('object/bndbox/*', *map(str, values), one=one)


def remove(parent, path, split='train', one=False):
    """Take elements out of each parent, '.' for the root."""
    return in_xml(lambda root: [x.remove(item) for x in root.findall(parent) for item in x.findall(path)], split, one)


def in_json(change, split='train'):
    def spoil(root):
        content = json.loads((root / f'annotations/{split}.json').read_text())
        change(content)
        (root / f'annotations/{split}.json').write_text(json.dumps(content))

    return spoil


def items(part, which=lambda item: True, split='train', **values):
    """Set values of some items of a part, each a value or a function of the item."""

    def change(content):
        for item in filter(which, content[part]):
            item.update({key: value(item) if callable(value) else value for key, value in values.items()})

    return in_json(change, split)


def number(value):
    """Which item has this id."""
    return lambda item: item['id'] == value


def categories(*names, shift=0):
    """COCO's categories with other names, in another order, or with one before them, in both files."""

    def change(content):
        content['categories'] = [dict(id=number, name=name) for number, name in enumerate(names)]
        for item in content['annotations']:
            item['category_id'] += shift

    return both(in_json(change), in_json(change, 'val'))


def as_corners(item):
    x, y, width, height = item['bbox']
    return [x, y, x + width, y + height]


def in_file(name, change):
    """Change the bytes of a file."""

    def spoil(root):
        path = root / name.format(one_of(root))
        path.write_bytes(change(path.read_bytes()))

    return spoil


def write(name, content):
    return in_file(name, lambda old: content)


def unlink(name):
    return lambda root: (root / name.format(one_of(root))).unlink()


def dangle(name):
    def spoil(root):
        path = root / name.format(one_of(root))
        path.rename(path.with_name('moved'))
        path.symlink_to('gone')

    return spoil


def images(change, every=1):
    return lambda root: [change(path) for path in sorted((root / 'JPEGImages').glob('*.jpg'))[::every]]


def renamed(ending):
    return images(lambda path: path.rename(path.with_suffix(ending)))


def turn(path):
    """A square image would be as large: half of it, with an orientation that turns it when it is read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).resize((SIZE, SIZE // 2)).save(path, exif=exif)
