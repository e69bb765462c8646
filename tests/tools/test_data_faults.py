"""Data and configs that train something else than was meant: told before the training, with the cause and what to do.

What is surely wrong is an error. What may be meant is a remark on stderr, and passes.
"""

import contextlib
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from as_coco import CLASSES
from check_config import Check
from mmengine.fileio import BaseStorageBackend, register_backend
from PIL import Image
from spoiled_data import each_xml, first, in_json, set_all, set_boxes, told, write

DETECTOR = 'nrpn_faster-rcnn_r50_fpn_1x'
SIZE = 128


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


# --- the right cause, where MMDetection fails or nothing is left


@pytest.mark.parametrize(
    'spoil, words',
    [
        (set_size(0, 0), r'filter_cfg.* leaves none of 12 .*Annotations/\d+.xml.*write their sizes into the annot'),
        (each_text('object/difficult', None, False), 'Annotations/{}.xml has <difficult></difficult> in object 1'),
        (each_text('object/difficult', 'Unspecified', False), 'Annotations/{}.xml has <difficult>Unspecified<'),
        (each_text('object/bndbox/xmax', 'inf', False), 'Annotations/{}.xml has <xmax>inf</xmax> in object 1'),
        (in_gb2312, 'Annotations/{}.xml is no XML that Python can read .*save it in UTF-8'),
        (write('Annotations/{}.xml', '<a>ü</a>'.encode('latin-1')), 'Annotations/{}.xml is no XML .*UTF-8'),
        (dangle('Annotations/{}.xml'), 'Annotations/{}.xml is a link to gone, which is not there'),
        (dangle('JPEGImages/{}.jpg'), 'JPEGImages/{}.jpg is a link to gone, which is not there'),
        (dangle('ImageSets/Main/train.txt'), 'train.txt is a link to gone, which is not there'),
        (dangle('JPEGImages'), r'JPEGImages/\d+.jpg is not there: .*JPEGImages is a link to gone, which is not'),
        (dangle('Annotations'), r'Annotations/\d+.xml is not there: .*Annotations is a link to gone, which'),
        (rename_images('.JPG'), r'\d+.JPG is, but XMLDataset reads \d+.jpg alone: rename the images'),
        (rename_images('.jpeg'), r'\d+.jpeg is, but XMLDataset reads \d+.jpg alone: rename the images'),
        (rename_images('.png', 'PNG'), r'\d+.png is, but XMLDataset reads .jpg alone: convert the images'),
        (in_list(lambda text: text + '\n'), 'train.txt has no name in line 13 .*is empty; delete it'),
        (in_list(lambda text: '\n\n' + text), 'train.txt has no name in line 1 .*is empty; delete it'),
        (in_list(lambda text: text.replace('\n', ' \n')), 'train.txt has no name in line 1 .*spaces around'),
        (in_list(lambda text: text.replace('\n', '.jpg\n')), 'train.txt has no name in line 1 .*ending'),
        (in_list(lambda text: text.replace('\n', ' -1\n')), 'train.txt has no name in line 1 .*more than a name'),
        (in_list(lambda text: 'JPEGImages/' + text), 'train.txt has no name in line 1 .*folder'),
    ],
)
def test_the_cause_in_voc_format(make_own, shapes, spoil, words):
    name = first(shapes)
    line = told(make_own('voc', spoil=spoil))
    assert re.search(f'train_dataloader.dataset.*{words.replace("{}", name)}', line), line


def test_an_image_whose_size_is_looked_for_in_it(make_own, shapes):
    """XML without a size makes MMDetection read the image: it is the broken one, and not the list."""

    def spoil(root):
        each_xml(lambda node: node.remove(node.find('size')))(root)
        (root / 'JPEGImages' / f'{first(root)}.jpg').write_bytes(b'no image')

    line = told(make_own('voc', spoil=spoil))
    assert f'JPEGImages/{first(shapes)}.jpg cannot be read as an image; replace it' in line, line


@pytest.mark.parametrize(
    'spoil, words',
    [
        (
            in_json(lambda content: [a.update(category_id=str(a['category_id'])) for a in content['annotations']]),
            r"has category_id='\d' in annotations, id 1; write it as categories do: \d",
        ),
        (in_json(lambda content: content['annotations'][3].update(category_id='1')), 'category_id=.1. .*id 4'),
        (in_json(set_all('annotations', iscrowd='0')), "has iscrowd='0' in annotations, id 1.*write 0 or 1"),
        (in_json(set_all('annotations', ignore='0')), "has ignore='0' in annotations, id 1.*write 0 or 1"),
        (in_json(set_all('annotations', area='9')), "has area='9' in annotations, id 1; write a number"),
        (in_json(set_all('images', width='128')), "has width='128' in images, id 0; write a number"),
        (in_json(set_all('images', width=None)), 'has width=None in images, id 0; write a number'),
        (in_json(lambda content: content['annotations'][2].update(bbox=['1', '2', '3', '4'])), 'has bbox=.*id 3'),
        (in_json(lambda content: content['annotations'].append('a')), "has 'a' in annotations, which is no dict"),
        (in_json(set_all('images', width=0)), 'no object to use.*an image with a width or height of 0'),
        (write('annotations/train.json', b'\xef\xbb\xbf{}'), 'begins with a byte order mark; save it in UTF-8'),
        (write('annotations/train.json', '{"a": "ü"}'.encode('latin-1')), 'is not in UTF-8; save it in UTF-8'),
        (dangle('annotations/train.json'), 'is a link to gone, which is not there'),
        (dangle('train'), r'/\d+.jpg is not there: .*train is a link to gone, which is not there'),
        (rename_images('.JPG'), r'\d+.JPG is: write this name into .*train.json, or rename the image'),
    ],
)
def test_the_cause_in_coco_format(make_own, spoil, words):
    line = told(make_own('coco', spoil=spoil))
    assert re.search(f'train_dataloader.dataset.*(train.json|shapes/train).*({words})', line), line


def test_indices_beyond_the_images(make_own):
    lines = 'train_dataloader = dict(dataset=dict(train_dataloader["dataset"], indices=range(5, 50)))'
    assert 'train_dataloader.dataset.indices goes beyond its 12 images' in told(make_own('voc', lines=lines))


def test_a_prefix_is_not_given(make_own):
    lines = 'train_dataloader = dict(dataset=dict(train_dataloader["dataset"], data_prefix=dict(img_path="train/")))'
    line = told(make_own('coco', lines=lines))
    assert "has no 'img'; write data_prefix=dict(img='train/')" in line, line


@pytest.mark.parametrize('form', ['voc', 'coco'])
@pytest.mark.parametrize(
    'classes, words',
    [
        ({'disc', 'square', 'triangle'}, r"has no order.*write classes=\('disc', 'square', 'triangle'\)"),
        (('disc', 'square', ''), 'has an empty name'),
        (('disc', 'square', 'disc'), r"has \['disc'\] more than once"),
    ],
)
def test_classes_without_one_order(make_own, form, classes, words):
    assert re.search(words, told(make_own(form, classes=classes)))


@pytest.mark.parametrize(
    'metainfo', ["dict(CLASSES=('disc',), _delete_=True)", 'dict(classes=())', 'dict(_delete_=True)']
)
def test_classes_are_not_given(make_own, metainfo):
    lines = f"train_dataloader = dict(dataset=dict(train_dataloader['dataset'], metainfo={metainfo}))"
    line = told(make_own('voc', lines=lines))
    assert re.search('train_dataloader.dataset.metainfo.*write .*classes=', line), line


@pytest.mark.parametrize(
    'spoil, words',
    [
        (of_class('disc', iscrowd=1), 'is ignored'),
        (of_class('disc', image_id=999), 'is of an image that is not listed'),
        (of_class('disc', bbox=[10, 10, 0, 10]), 'has a box without a width and a height'),
        (of_class('disc', area=0), "has a box whose 'area' is 0"),
        (of_class('disc', bbox=[500, 10, 20, 20]), 'has a box outside of its image'),
        (of_class('disc', bbox=[0.1, 0.1, 0.2, 0.2]), 'has a box in fractions of the image'),
    ],
)
def test_why_no_object_of_a_class_counts(make_own, capsys, spoil, words):
    assert Check()(make_own('coco', spoil=spoil)) is None
    said = capsys.readouterr().err
    assert re.search(f"train_dataloader.dataset has no object of 'disc' that counts: .*{words}", said), said
    assert 'spelling' not in said


def test_why_no_object_of_a_class_counts_in_voc_format(make_own, capsys):
    discs = each_xml(
        lambda root: [setattr(item.find('difficult'), 'text', '1') for item in root.findall('object[name="disc"]')]
    )
    assert Check()(make_own('voc', spoil=discs)) is None
    said = capsys.readouterr().err
    assert re.search("no object of 'disc' that counts: .*is ignored .difficult", said) and 'spelling' not in said


# --- what trains in silence


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


@pytest.mark.parametrize('backend_args', ["dict(backend='local')", 'None'])
@pytest.mark.parametrize('content', [b'no image', None])
def test_storage_that_is_named_is_looked_at(make_own, shapes, backend_args, content):
    path = shapes / 'JPEGImages' / f'{first(shapes)}.jpg'
    path.unlink() if content is None else path.write_bytes(content)
    lines = f"""
loader = dict(type='LoadImageFromFile', backend_args={backend_args})
pipeline = [loader, *_base_.train_pipeline[1:]]
train_dataloader = dict(dataset=dict(train_dataloader['dataset'], backend_args={backend_args}, pipeline=pipeline))
"""
    line = told(make_own('voc', lines=lines))
    assert str(path) in line and re.search('is not there|cannot be read as an image', line), line


class Far(BaseStorageBackend):
    """A storage whose paths lead to no files: those behind the prefix."""

    join_path = staticmethod(os.path.join)

    def get(self, filepath):
        return Path(filepath[len('far://') :]).read_bytes()

    def get_text(self, filepath, encoding='utf-8'):
        return self.get(filepath).decode(encoding)

    @contextlib.contextmanager
    def get_local_path(self, filepath):
        yield filepath[len('far://') :]


@pytest.mark.parametrize('form', ['voc', 'coco'])
@pytest.mark.parametrize('is_broken', [False, True])
def test_data_on_a_remote_storage(make_own, shapes, form, is_broken):
    register_backend('far', Far, force=True, prefixes='far')
    if is_broken:
        (shapes / 'JPEGImages' / '000000.jpg').write_bytes(b'no image')
    run = make_own(
        form,
        lines=f"""
train_dataloader = dict(dataset=dict(train_dataloader['dataset'], data_root='far://{shapes}/'))
""",
    )
    if is_broken:
        assert re.search('far://.*/000000.jpg cannot be read .*backend_args', told(run))
    else:
        assert Check()(run) is None


def test_remote_storage_is_tried(make_own):
    lines = """
loader = dict(type='LoadImageFromFile', backend_args=dict(backend='http'))
train_dataloader = dict(dataset=dict(train_dataloader['dataset'], pipeline=[loader, *_base_.train_pipeline[1:]]))
"""
    line = told(make_own('voc', lines=lines))
    assert re.search(r'JPEGImages/\d+.jpg cannot be read \(.*backend_args', line), line


@pytest.mark.parametrize(
    'lines, words',
    [
        ("custom_hooks = [dict(type='EMAHok')]", r"custom_hooks\[0\].type='EMAHok' is not registered"),
        ("custom_hooks = [dict(typ='EMAHook')]", r'custom_hooks\[0\]=.*has no type'),
        ("default_hooks = dict(logger=dict(type='LogerHook'))", "default_hooks.logger.type='LogerHook'"),
        (
            'default_hooks = dict(logger=dict(intervall=5))',
            "default_hooks.logger cannot.*'intervall'",
        ),
        ("param_scheduler = [dict(type='LinearRL')]", r"param_scheduler\[0\].type='LinearRL' is not registered"),
        (
            "param_scheduler = dict(_delete_=True, type='StepLR', stepsize=3)",
            "param_scheduler cannot.*'stepsize'",
        ),
        ("train_dataloader = dict(sampler=dict(type='InfinitSampler'))", "train_dataloader.sampler.type='Infin"),
        ("train_dataloader = dict(batch_sampler=dict(type='Aspect'))", "train_dataloader.batch_sampler.type='Aspect'"),
        (
            'val_dataloader = dict(sampler=dict(shufle=False))',
            "val_dataloader.sampler cannot.*'shufle'",
        ),
        ("visualizer = dict(type='Visualiser')", "visualizer.type='Visualiser'"),
        ("visualizer = dict(type='Visualizer', vis_backends=[dict(type='Board')])", r"vis_backends\[0\].type='Board'"),
        ("train_cfg = dict(type='IterLoop', max_iters=5)", "train_cfg.type='IterLoop'"),
        ('default_hooks = dict(checkpoint=dict(save_last=False, interval=3))', 'checkpoint.save_last=False .*take'),
        ('default_hooks = dict(checkpoint=dict(save_last=False, interval=-1))', 'checkpoint.save_last=False .*take'),
        ('default_hooks = dict(checkpoint=dict(save_last=False, interval=9999))', 'checkpoint.save_last=False .*take'),
    ],
)
def test_a_misspelt_part_of_the_training(make_own, lines, words):
    lines = lines.replace('val_dataloader = dict(', 'val_dataloader = dict(val_dataloader, ')
    line = told(make_own('voc', lines=lines))
    assert re.search(words, line), line


@pytest.mark.parametrize(
    'lines',
    [
        'default_hooks = dict(checkpoint=dict(save_last=False, interval=50))',
        "custom_hooks = [dict(type='mmengine.EMAHook', priority='NORMAL')]",
        "default_hooks = dict(checkpoint=None)\ncustom_hooks = [dict(type='CheckpointHook', by_epoch=False)]",
        "param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[1], convert_to_iter_based=True)",
        'param_scheduler = None',
        "visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])",
    ],
)
def test_parts_that_are_spelt_right_pass(make_own, lines):
    assert Check()(make_own('voc', lines=lines)) is None


# --- labels


@pytest.mark.parametrize('template', ['rpn_r18_fpn_short', DETECTOR])
@pytest.mark.parametrize(
    'names, shift', [(('disc', *CLASSES), 1), (('disc', 'square', 'square', 'triangle'), 0), (CLASSES[:1] * 3, 0)]
)
def test_several_categories_of_one_name(make_own, names, shift, template):
    spoil = both(in_json(categories(*names, shift=shift)), in_json(categories(*names, shift=shift), 'val'))
    line = told(make_own('coco', spoil=spoil, classes=tuple(dict.fromkeys(names)), template=template))
    twice = next(name for name in names if names.count(name) > 1)
    assert re.search(f"train.json has several categories called '{twice}' .ids", line), line


def test_a_root_category_is_no_class(make_own, capsys):
    """As Roboflow writes it: labels are counted without it."""
    spoil = both(
        in_json(categories('shapes', *CLASSES, shift=1)), in_json(categories('shapes', *CLASSES, shift=1), 'val')
    )
    assert Check()(make_own('coco', spoil=spoil, template=DETECTOR)) is None
    said = capsys.readouterr().err
    assert 'has no object' not in said and 'order' not in said


def swap(content):
    content['categories'].reverse()


@pytest.mark.parametrize('template', ['rpn_r18_fpn_short', DETECTOR])
def test_categories_in_another_order_matter_where_labels_do(make_own, template):
    run = make_own('coco', spoil=in_json(swap, 'val'), template=template)
    if template == DETECTOR:
        line = told(run)
        assert re.search(r"val.json has the categories \('triangle', 'square', 'disc'\) and .*train.json .*order", line)
    else:
        assert Check()(run) is None


def test_classes_in_another_order_than_the_files(make_own, capsys):
    """All trains as it should, and names of detections are wrong."""
    assert Check()(make_own('coco', classes=CLASSES[::-1], template=DETECTOR)) is None
    assert "order labels follow, and metainfo.classes=('triangle'" in capsys.readouterr().err


def test_objects_are_counted_by_the_files_names(make_own, capsys):
    """The one class without an object is the second of the file and the first of the config."""
    spoil = in_json(lambda content: [a.update(category_id=2) for a in content['annotations'] if a['category_id'] == 1])
    assert Check()(make_own('coco', classes=('square', 'triangle', 'disc'), spoil=spoil)) is None
    assert re.findall(r'train_dataloader.dataset has no object of (.*);', capsys.readouterr().err)[0].startswith(
        "['square']"
    )


def test_a_head_without_room_for_a_class(make_own):
    lines = 'model["roi_head"] = dict(bbox_head=dict(num_classes=2))'
    assert 'num_classes=2 for 3 classes' in told(make_own('coco', template=DETECTOR, lines=lines))


# --- sound data


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
