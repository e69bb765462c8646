"""Ways to write a data set wrong, as functions of its root, and what the check tells of a run."""

import json
import xml.etree.ElementTree as ET

from check_config import Check


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
