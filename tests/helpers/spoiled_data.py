"""Ways to write a data set wrong, as functions of its root, and what the check tells of a run."""

import json
import re

from check_config import problems
from PIL import Image

SIZE = 128  # of the images
LIST, JSON = 'ImageSets/Main/train.txt', 'annotations/train.json'
XML, IMAGE = 'Annotations/{}.xml', 'JPEGImages/{}.jpg'  # of the image that is spoilt alone
XMLS, OBJECTS = 'Annotations/*.xml', '<object>.*</object>'


def told(run):
    """The line that the check ends with, None if there is none."""
    lines = problems([run])
    assert len(lines) <= 1 and all('\n' not in line and 'mine.py: ' in line for line in lines)
    return lines[0] if lines else None


def one_of(root):
    return (root / LIST).read_text().split()[3]


def both(*spoils):
    return lambda root: [spoil(root) for spoil in spoils]


def sub(name, pattern, new, count=0):
    """Replace a pattern in the bytes of each file of a name."""

    def spoil(root):
        for path in root.glob(name.format(one_of(root))):
            text = re.sub(pattern, new, path.read_bytes().decode('latin-1'), count=count, flags=re.DOTALL)
            path.write_bytes(text.encode('latin-1'))

    return spoil


def boxes(*corners, name=XMLS):
    """Write the same box for each object, xmin, ymin, xmax and ymax."""
    tags = ''.join(f'<{tag}>{value}</{tag}>' for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners))
    return sub(name, '<bndbox>.*?</bndbox>', f'<bndbox>{tags}</bndbox>')


def sizes(width, height, name=XMLS):
    return sub(name, '<width>.*?<(.*?)<height>.*?<', rf'<width>{width}<\1<height>{height}<')


def in_json(change, split='train'):
    def spoil(root):
        content = json.loads((root / f'annotations/{split}.json').read_text())
        change(content)
        (root / f'annotations/{split}.json').write_text(json.dumps(content))

    return spoil


def items(part, which=lambda item: True, split='train', **values):
    """Set values of all items of a part, or of that with an id, each a value or a function of the item."""

    def change(content):
        for item in content[part]:
            if which(item) if callable(which) else which == item['id']:
                item.update({key: value(item) if callable(value) else value for key, value in values.items()})

    return in_json(change, split)


def categories(*names, first=0):
    """COCO's categories with other names, in both files, the first with another id."""
    found = [dict(id=number, name=name) for number, name in enumerate(names, start=first)]
    return both(*(in_json(lambda content: content.update(categories=found), split) for split in ('train', 'val')))


def as_corners(item):
    x, y, width, height = item['bbox']
    return [x, y, x + width, y + height]


def write(name, content):
    return lambda root: (root / name.format(one_of(root))).write_bytes(content)


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
