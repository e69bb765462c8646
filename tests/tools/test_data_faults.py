"""Data that MMDetection reads and trains as something else than was meant: told before the training.

What is surely wrong is an error. What may be meant is a remark on stderr, and passes. What is sound passes.
"""

import re
import xml.etree.ElementTree as ET

import pytest
from check_config import Check
from PIL import Image
from spoiled_data import (
    SIZE,
    as_corners,
    both,
    each_image,
    each_text,
    each_xml,
    in_json,
    in_list,
    set_all,
    set_boxes,
    set_size,
    told,
    turn,
)


@pytest.mark.parametrize(
    'form, spoil, words',
    [
        ('voc', set_size(0, 0, False), 'filter_cfg=.* leaves 11 of 12 .*another size than.*read as 128 x 128'),
        ('voc', set_size(64, 128), '12 of 12 images have another size .*read as 128 x 128, and not 64 x 128'),
        ('voc', each_image(turn, every=16), '1 of 12 images have another size .*read as 64 x 128, and not 128 x 128'),
        (
            'voc',
            each_text('object/name', 'Disc', False),
            r"\d of \d+ objects are of none of.*'Disc' \(\d, like 'disc'\)",
        ),
        (
            'voc',
            each_text('object/name', ' disc ', False),
            r"none of the classes.*' disc ' \(\d, like 'disc'\)",
        ),
        ('voc', each_text('object/name', 'house', False), r"none of the classes.*'house' \(\d\).*\d+.xml"),
        ('voc', each_text('object/name', None, False), 'of none of the classes.*xml'),
        ('voc', each_xml(lambda root: set_boxes(root, (200, 9, 300, 50)), 'train', False), 'outside of its image'),
        ('voc', each_xml(lambda root: set_boxes(root, (9, 9, 150, 50)), 'train', False), 'reaches beyond its image'),
        ('voc', in_list(lambda text: text + text[:7]), 'train.txt lists 000000 2 times'),
        ('coco', in_json(lambda content: content['annotations'][0].update(bbox=[300, 9, 20, 20])), 'outside of its'),
        ('coco', in_json(lambda content: content['annotations'][0].update(image_id=77)), 'not listed .first: id 1'),
        (
            'coco',
            in_json(lambda content: content['annotations'][0].update(category_id=9)),
            '1 of 48 objects are of none.*None',
        ),
        ('coco', in_json(set_all('images', width=SIZE - 40)), '12 of 12 images have another size .*not 88 x 128'),
        (
            'coco',
            in_json(lambda content: content['images'].append(dict(content['images'][0], id=99))),
            r'train.json lists .*000000.jpg 2 times',
        ),
        (
            'voc',
            each_xml(lambda root: [root.remove(item) for item in root.findall('object')], 'train', False),
            'filter_cfg=.* leaves 11 of 12 images: 1 have no objects',
        ),
    ],
)
def test_what_may_be_meant_is_a_remark(make_own, capsys, form, spoil, words):
    assert Check()(make_own(form, spoil=spoil)) is None
    said = ' '.join(capsys.readouterr().err.splitlines())
    for word in words.split('.*'):
        assert re.search(word, said), said
    assert 'train_dataloader.dataset' in said


@pytest.mark.parametrize(
    'form, spoil, words',
    [
        ('voc', both(set_size(0, 0), set_size(SIZE, SIZE, False)), 'leaves 1 of 12 images.*write their sizes'),
        (
            'voc',
            each_image(lambda path: Image.open(path).resize((64, 64)).save(path)),
            'reach beyond them.*write sizes',
        ),
        ('voc', each_xml(lambda root: set_boxes(root, (60, 60, 20, 30))), 'has no object|not written as corners'),
        ('coco', in_json(as_corners), r'train.json.*reach beyond.*write \[x, y, width, height\]'),
        (
            'coco',
            in_json(both(as_corners, lambda content: content['annotations'][0].update(bbox=[9, 9, 9, 9]))),
            'are cor',
        ),
        ('coco', in_json(set_all('images', id=0)), 'train.json has several images of id 0'),
        ('coco', in_json(lambda content: content['images'][1].update(id=0)), 'train.json has several images of id 0'),
        ('coco', in_json(set_all('categories', id=0)), 'train.json has several categories of id 0'),
    ],
)
def test_what_is_surely_wrong_is_an_error(make_own, form, spoil, words):
    line = told(make_own(form, spoil=spoil))
    assert re.search(f'(train|val)_dataloader.dataset.*({words})', line), line


def test_an_image_is_measured_once(make_own):
    def spoil(root):
        path = root / 'ImageSets' / 'Main' / 'val.txt'
        path.write_text(path.read_text() * 2)

    lines = 'val_dataloader = dict(dataset=dict(val_dataloader["dataset"], test_mode=True))'
    assert 'measure an image once' in told(make_own('voc', spoil=spoil, lines=lines))


def test_sound_data_pass_without_a_word(make_own, capsys):
    for form in ('voc', 'coco'):
        assert Check()(make_own(form)) is None
    said = [line for line in capsys.readouterr().err.splitlines() if 'dataloader' in line]
    assert not said


def close_ups(content):
    """Each object fills most of its image, and one annotator was careless."""
    for number, item in enumerate(content['annotations']):
        item['bbox'] = [20, 20, 112 if number == 0 else 100, 90]


def orientations(root):
    """Upright images that are stored lying, as the annotations say."""
    each_image(turn)(root)
    half = SIZE // 2
    both(set_size(half, SIZE), each_xml(lambda node: set_boxes(node, (5, 5, half - 5, SIZE - 5))))(root)
    each_xml(lambda node: node.find('size/width').__setattr__('text', str(half)), 'val')(root)


@pytest.mark.parametrize(
    'form, spoil',
    [
        ('voc', in_list(lambda text: text.rstrip('\n'))),
        ('voc', in_list(lambda text: text.replace('\n', '\r\n'))),
        ('voc', orientations),
        ('voc', each_xml(lambda root: root.remove(root.find('size')))),
        ('voc', each_xml(lambda root: root.insert(0, ET.Comment('made by hand')))),
        ('voc', each_text('object/difficult', ' 0 ')),
        ('coco', in_json(close_ups)),
        ('coco', in_json(lambda content: [image.update(license=1) for image in content['images']])),
        ('coco', in_json(lambda content: [a.update(id=f'a{a["id"]}') for a in content['annotations']])),
        ('coco', in_json(lambda content: [a.pop('iscrowd') for a in content['annotations']])),
    ],
)
def test_what_stock_reads_is_not_refused(make_own, form, spoil):
    assert Check()(make_own(form, spoil=spoil)) is None
