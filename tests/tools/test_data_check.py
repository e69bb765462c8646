"""What is wrong with data is told before any training: the file, the right cause and what to do."""

import json
import re

import numpy as np
import pytest
import spoiled_data as spoil
from as_coco import CLASSES
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from PIL import Image
from spoiled_data import IMAGE, JSON, LIST, OBJECTS, SIZE, XML, XMLS, both, told

DETECTOR = 'nrpn_faster-rcnn_r50_fpn_1x'
VAL_LIST = LIST.replace('train', 'val')
VAL = spoil.write(VAL_LIST, b'000003')  # the image that is spoilt alone

# what was done to a data set in VOC's format, and what is told; {} is the image that is spoilt alone
WRONG_VOC = [
    (spoil.sub(XML, '<difficult>.', '<difficult>'), f"{XML} cannot be read; mend it.*: <difficult> is ''"),
    (spoil.sub(XML, '<difficult>.', '<difficult>Unspecified'), f"{XML} .*: <difficult> is 'Unspecified'"),
    (spoil.sub(XML, '<xmax>.*?<', '<xmax>inf<'), f"{XML} .*<bndbox/xmax> is 'inf'"),
    (spoil.sub(XML, '<xmin>.*?<', '<xmin>a<'), f"{XML} .*<bndbox/xmin> is 'a'"),
    (spoil.sub(XML, '<width>.*?<', '<width>64.0<'), f"{XML} .*<size/width> is '64.0', which is no whole number"),
    (spoil.sub(XML, '<bndbox>.*?</bndbox>', ''), f'{XML} .*<bndbox/xmin> is None'),
    (spoil.sub(XML, '<name>.*?</name>', '', 1), f'{XML} .*: object 1: it has no <name>'),
    (spoil.write(LIST, b''), f'leaves 0 of 0 images.* check .*{LIST}'),
    (spoil.write(XML, b''), f'{XML} cannot be read.*no element found'),
    (spoil.write(XML, '<a>ü</a>'.encode('latin-1')), f'{XML} .*save it in UTF-8'),
    (spoil.sub(XML, '^', '<?xml version="1.0" encoding="gb2312"?>'), f'{XML} .*save it in UTF-8'),
    (spoil.unlink(XML), f'{XML} is not there; check data_root'),
    (spoil.dangle(XML), f'{XML} is not there: .* is a link to gone, which is not; mend the link'),
    (spoil.dangle('Annotations'), r'\d+.xml is not there: .*Annotations is a link to gone, which is not; mend'),
    (spoil.dangle(LIST), f'{LIST} is a link to gone, which is not; mend'),
    (spoil.sub(LIST, '$', '\n', 1), f"line 13 of .*{LIST}, '', which has to be the name of"),
    (spoil.sub(LIST, '^', '\n\n'), "mend line 1 of .*, '', which has to be the name of an image"),
    (spoil.sub(LIST, '\n', ' \n'), "line 1 of .*, '000000 ', .* without .* spaces"),
    (spoil.sub(LIST, '\n', '.jpg\n'), "line 1 of .*.jpg', .* without .*ending"),
    (spoil.sub(LIST, '\n', ' -1\n'), "line 1 of .* -1', which has to be the name of"),
    (spoil.sub(LIST, '^', 'JPEGImages/'), "line 1 of .*, 'JPEGImages/000000', .* without folder"),
    (spoil.sub(LIST, '^', '\xef\xbb\xbf'), f'save it in UTF-8.* line 1 of .*{LIST}.*ufeff000000'),
    (spoil.sub(LIST, '^', 'ä'), f'{LIST}, which has to be in UTF-8'),
    (
        both(spoil.sub(XMLS, '<size>.*</size>', ''), spoil.write(IMAGE, b'no image')),
        f'{IMAGE} cannot be read as an image',
    ),
    (spoil.write(IMAGE, b''), f'{IMAGE} cannot be read as an image; replace it, take it out of .*{LIST}.*1 of 12 im'),
    (spoil.write(IMAGE, b'\xff\xd8\xff\xe0 no image'), f'{IMAGE} cannot be read as an image; replace it'),
    (spoil.unlink(IMAGE), f'{IMAGE} .*is not there; check data_root'),
    (spoil.dangle(IMAGE), f'{IMAGE} .*is not there: .*is a link to gone, which is not; mend the link'),
    (spoil.dangle('JPEGImages'), r'\d+.jpg is not there: .*JPEGImages is a link to gone, which is not; mend'),
    (spoil.renamed('.JPG'), r'\d+.jpg is not there, but \d+.JPG is; rename such files'),
    (spoil.renamed('.png'), r'\d+.jpg is not there, but \d+.png is; rename such files'),
    (spoil.images(lambda path: Image.open(path).resize((64, 64)).save(path)), r'12 of 12 images .*read as \[64, 64\]'),
    (spoil.sizes(0, 0), r'12 of 12 images have another size.*read as \[128, 128\], and not \[0, 0\].*write sizes'),
    (both(spoil.sizes(0, 0), spoil.sizes(SIZE, SIZE, XML)), r'11 of 12 images .* and not \[0, 0\]'),
    (spoil.boxes(60, 60, 20, 30), 'xml.* have a box without a width and a height.* VOC as corners'),
    (both(spoil.boxes(60, 60, 20, 30), spoil.boxes(9, 9, 50, 50, name=XML)), 'have a box without a width and a height'),
    (spoil.boxes(9, 9, 9, 9), 'have a box without a width and a height'),
    (spoil.boxes(0.1, 0.2, 1.0, 1.0), r'\d+.xml. have a box in fractions of the image; write pixels'),
    (spoil.boxes(0.1, 0.2, 0.4, 0.6), 'have a box in fractions of the image'),
    (both(VAL, spoil.sub(XML, OBJECTS, '')), 'no object of .*check its ann_file'),
    (both(VAL, spoil.sub(XML, '<difficult>0', '<difficult>1')), 'no object of .* are ignored'),
    (both(VAL, spoil.sub(VAL_LIST, '$', '\n000003')), 'val.txt lists .*; measure an image once: take the others out'),
]
# likewise in COCO's
FORMAT = f"{JSON}, which has to be in COCO's format and UTF-8: "
WRONG_COCO = [
    (spoil.items('annotations', category_id=lambda a: str(a['category_id'])), r"category_id='\d', .*categories .*int"),
    (spoil.items('annotations', 4, category_id='1'), "category_id='1', and categories .*int64; write both alike"),
    (spoil.items('annotations', image_id=lambda a: str(a['image_id'])), "image_id='0', and images have it as int"),
    (spoil.items('annotations', image_id=999), 'of an image that is not listed; write the id of an image as image_id'),
    (spoil.items('annotations', iscrowd='0'), "iscrowd='0' in annotations, id 1; write 0 or 1"),
    (spoil.items('annotations', ignore='0'), "ignore='0' in annotations, id 1; write 0 or 1"),
    (spoil.items('annotations', 6, area='9'), "area='9' in annotations, id 6; write width .* a number"),
    (spoil.items('annotations', area=0), "have a box whose 'area' is 0"),
    (spoil.in_json(lambda content: content['annotations'][5].pop('area')), 'area=nan in annotations, id 6; write wi'),
    (spoil.items('images', width=0), "of an image with a width or height of 0; write the image's size"),
    (spoil.items('images', width='128'), "width='128' in images, id 0; write a number"),
    (spoil.items('images', width=None), 'width=None in images, id 0; write a number'),
    (spoil.in_json(lambda content: content['images'][5].pop('width')), 'width=nan in images, id 5; write a number'),
    (spoil.items('annotations', 3, bbox=['1', '2', '3', '4']), r"bbox=\['1'.* in annotations, id 3; write \[x,"),
    (spoil.items('annotations', 3, bbox=None), 'bbox=None in annotations, id 3'),
    (spoil.items('annotations', bbox=[0.1, 0.2, 0.3, 0.4]), 'have a box in fractions of the image'),
    (spoil.items('annotations', bbox=[0.0, 0.0, 1.0, 1.0]), 'have a box in fractions of the image'),
    (spoil.items('annotations', bbox=[10, 10, 0, 0]), 'have a box without a width and a height'),
    (spoil.items('annotations', bbox=spoil.as_corners), r'boxes are corners.*beyond.*write \[x, y, width, height\]'),
    (spoil.items('annotations', bbox=lambda a: [9] * 4 if a['id'] == 1 else spoil.as_corners(a)), 'boxes are corners'),
    (spoil.items('annotations', bbox=[5, 6, 20, 24], area=15 * 18), 'the boxes are corners'),  # the area alone tells
    (spoil.items('images', id=0), 'images, each with an id of its own: .*duplicate keys: .*0'),
    (spoil.items('annotations', id=1), 'annotations, each with an id of its own: .*duplicate keys: .*1'),
    (spoil.items('categories', id=0), 'categories, each with an id of its own: .*duplicate keys: .*0'),
    (spoil.in_json(lambda content: content.pop('categories')), f"{FORMAT}.*KeyError: 'categories'"),
    (spoil.in_json(lambda content: content['images'][5].pop('file_name')), 'file_name=nan in images, id 5; write its'),
    (spoil.in_json(lambda content: content['annotations'].append('a')), f'{FORMAT}TypeError: string'),
    (spoil.in_json(lambda content: content.update(images=None)), f"{FORMAT}TypeError: 'NoneType'"),
    (spoil.write(JSON, b'{"images": ['), f'{FORMAT}Expecting value'),
    (spoil.write(JSON, b'[]'), f'{FORMAT}AssertionError: annotation file format .*list'),
    (spoil.write(JSON, b'\xef\xbb\xbf{}'), f'{FORMAT}Unexpected UTF-8 BOM'),
    (spoil.write(JSON, '{"a": "ü"}'.encode('latin-1')), f"{FORMAT}'utf-8' codec"),
    (spoil.dangle(JSON), f'{JSON} is a link to gone, which is not; mend the link'),
    (both(spoil.unlink(JSON), lambda root: (root / JSON[:-5]).mkdir()), f'{JSON} is not there; check data_root'),
    (spoil.dangle('train'), r'\d+.jpg is not there: .*train is a link to gone, which is not; mend the link'),
    (spoil.renamed('.JPG'), r'\d+.jpg is not there, but \d+.JPG is; rename such files'),
    (spoil.in_json(lambda content: content['annotations'].clear(), 'val'), 'there is none in .*check its ann_file'),
    (spoil.items('annotations', split='val', iscrowd=1), 'no object of .*are ignored'),
]
WRONG = [*(('voc', *case) for case in WRONG_VOC), *(('coco', *case) for case in WRONG_COCO)]


@pytest.mark.parametrize('form, how, words', WRONG)
def test_what_is_surely_wrong_is_an_error(make_own, shapes, form, how, words):
    name = spoil.one_of(shapes)
    line = told(make_own(form, spoil=how))
    assert re.search(f'(train|val)_dataloader.dataset: .*{words.replace("{}", name)}', line), line
    assert any(file in line for file in (JSON, '.txt', '.xml', '.jpg', 'val.json', 'check its ann_file'))


OTHERS = r'\d of \d+ objects .first: object \d+ of .* are of none of the classes.*'
REMARKED = [
    ('voc', spoil.sizes(64, 128), r'12 of 12 images have another size .* \[128, 128\], and not \[64, 128\]'),
    ('voc', spoil.images(spoil.turn, every=16), r'1 of 12 images .*is read as \[64, 128\], and not \[128, 128\]'),
    ('voc', spoil.sizes(0, 0, XML), r'1 of 12 images .*is read as \[128, 128\], and not \[0, 0\]'),
    ('voc', spoil.sizes(0, 0, XML), 'filter_cfg=.* leaves 11 of 12 images: those of min_size, and with objects'),
    ('voc', spoil.sub(XML, OBJECTS, ''), 'filter_cfg=.* leaves 11 of 12 images'),
    ('voc', spoil.sub(XML, '<name>.*?<', '<name>Disc<'), OTHERS + r"'Disc': \d}, 'Disc' like 'disc';"),
    ('voc', spoil.sub(XML, '<name>.*?<', '<name> disc <'), OTHERS + "' disc ': "),
    ('voc', spoil.sub(XML, '<name>.*?<', '<name><'), OTHERS + 'write the names of their classes there'),
    ('voc', spoil.boxes(200, 9, 300, 50, name=XML), r'\d of \d+ .*object 1 of .*{}.xml. .* outside of its image'),
    ('voc', both(spoil.sizes(110, 110), spoil.boxes(21, 21, 126, 126)), 'have a box that reaches beyond its image'),
    ('voc', spoil.boxes(9, 9, 150, 50, name=XML), 'have a box that reaches beyond its image; mend the box'),
    ('voc', spoil.sub(LIST, '000000\n', '000000\n000000\n'), f'{LIST} lists .*000000.jpg again'),
    ('coco', spoil.items('annotations', 1, bbox=[300, 9, 20, 20]), '1 of 48 .*object 1 of .*json. .* outside'),
    ('coco', spoil.items('annotations', 1, image_id=None), '1 of 48 objects .*object 1 of .*not listed'),
    ('coco', spoil.items('annotations', 1, category_id=None), OTHERS + "'category_id nan': 1"),
    ('coco', spoil.items('images', width=SIZE - 40), r'12 of 12 images .* \[128, 128\], and not \[88, 128\]'),
    ('coco', spoil.items('images', 1, file_name='000000.jpg'), f'{JSON} lists .*000000.jpg again'),
    # why no object of a class counts
    ('voc', spoil.sub(XMLS, '<name>disc', '<name>square'), r"no object of .*'disc',. .*called .*'square'.*; write"),
    ('voc', spoil.sub(XMLS, '(disc.*?<difficult>)0', r'\g<1>1'), "no object of .*'disc',. counts: .* are ignored"),
    ('coco', {'iscrowd': 1}, 'are ignored'),
    ('coco', {'image_id': 999}, 'are of an image that is not listed'),
    ('coco', {'bbox': [10, 10, 0, 10], 'area': 0}, 'have a box without a width and a height'),
    ('coco', {'bbox': [500, 10, 20, 20]}, 'have a box outside of its image'),
    ('coco', {'bbox': [0.1, 0.1, 0.2, 0.2]}, 'have a box in fractions of the image'),
    ('coco', {'area': 0}, "have a box whose 'area' is 0"),
]


@pytest.mark.parametrize('form, how, words', REMARKED)
def test_what_may_be_meant_is_a_remark(make_own, shapes, capsys, form, how, words):
    name = spoil.one_of(shapes)
    if isinstance(how, dict):
        words = rf"no object of classes=\('disc',\) counts: .*{words}"
        how = spoil.items('annotations', lambda item: item['category_id'] == 0, **how)
    assert told(make_own(form, spoil=how)) is None
    said = capsys.readouterr().err
    assert re.search(f'train_dataloader.dataset: .*{words.replace("{}", name)}', said), said


def orientations(root):
    """Upright images that are stored lying, as the annotations say."""
    half = SIZE // 2
    both(spoil.images(spoil.turn), spoil.sizes(half, SIZE), spoil.boxes(5, 5, half - 5, SIZE - 5))(root)


def other_kinds(root):
    """PNG in a .jpg, grey and 16 bit, and a JPEG with an end as some cameras write it."""
    first, second, third = sorted((root / 'JPEGImages').glob('*.jpg'))[:3]
    Image.new('L', (SIZE, SIZE)).save(first, 'PNG')
    Image.fromarray(np.full((SIZE, SIZE), 40000, np.uint16)).save(second, 'PNG')
    third.write_bytes(third.read_bytes() + b'\0\0')


SOUND = [
    ('voc', None),
    ('voc', spoil.sub(LIST, '\n$', '')),
    ('voc', spoil.sub(LIST, '\n', '\r\n')),
    ('voc', orientations),
    ('voc', spoil.sub(XMLS, '<size>.*</size>', '')),
    ('voc', spoil.sub(XMLS, '<size>', '<!-- made by hand --><size>')),
    ('voc', spoil.sub(XMLS, '<difficult>0', '<difficult> 0 ')),
    ('voc', other_kinds),
    ('coco', None),
    # each object fills most of its image, and one annotator was careless
    ('coco', spoil.items('annotations', bbox=lambda a: [20, 20, 112 if a['id'] == 1 else 100, 90])),
    ('coco', spoil.items('annotations', id=lambda a: f'a{a["id"]}', iscrowd=None)),
    ('coco', spoil.in_json(lambda content: [a.pop('iscrowd') for a in content['annotations']])),
]


@pytest.mark.parametrize('form, how', SOUND)
def test_what_stock_reads_is_not_refused(make_own, capsys, form, how):
    assert told(make_own(form, spoil=how)) is None
    assert 'train_dataloader' not in capsys.readouterr().err or ('coco', how) == SOUND[-3]


# --- labels


@pytest.mark.parametrize('names', [('disc', *CLASSES), (*CLASSES, 'disc'), CLASSES[:1] * 3])
def test_several_categories_of_one_name(make_own, names):
    line = told(make_own('coco', spoil=spoil.categories(*names), classes=tuple(dict.fromkeys(names))))
    assert re.search("train.json.* several categories called 'disc'", line), line


def test_a_root_category_is_no_class(make_own, capsys):
    """As Roboflow writes it: labels are counted without it."""
    assert told(make_own('coco', spoil=spoil.categories('shapes', *CLASSES, first=-1), template=DETECTOR)) is None
    assert 'dataloader' not in capsys.readouterr().err


@pytest.mark.parametrize('template', ['rpn_r18_fpn_short', DETECTOR])
def test_categories_in_another_order_matter_where_labels_do(make_own, template):
    line = told(make_own('coco', spoil=spoil.in_json(lambda c: c['categories'].reverse(), 'val'), template=template))
    words = r"val.json has \('triangle', 'square', 'disc'\) and .*train.json .*labels follow the order"
    assert re.search(words, line) if template == DETECTOR else line is None


def test_classes_in_another_order_than_the_files(make_own, capsys):
    """All trains as it should, and names of detections are wrong. Objects are counted by the file's names."""
    how = spoil.items('annotations', category_id=lambda item: item['category_id'] or 2)
    assert told(make_own('coco', spoil=how, classes=CLASSES[::-1], template=DETECTOR)) is None
    said = capsys.readouterr().err
    assert re.search(r"metainfo.classes has \('triangle', .*labels follow the order in the file", said)
    assert re.findall(r'train_dataloader.dataset: no object of (\S*)', said) == ["classes=('disc',)"]


def test_a_head_without_room_for_a_class(make_own):
    lines = 'model["roi_head"] = dict(bbox_head=dict(num_classes=2))'
    assert 'num_classes=2 for 3 classes' in told(make_own('coco', template=DETECTOR, lines=lines))


def test_a_mask_head_without_room_for_a_class(make_own):
    mask = "mask_head=dict(type='FCNMaskHead', num_classes=2)"
    extractor = 'mask_roi_extractor=_base_.model.roi_head.bbox_roi_extractor'
    lines = f'model["roi_head"] = dict({mask}, {extractor})'
    assert 'mask_head has num_classes=2 for 3 classes' in told(make_own('coco', template=DETECTOR, lines=lines))


# --- what the network or the evaluation needs beside boxes

MASKS = """
masks = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
train_dataloader['dataset'].update(pipeline=[_base_.train_pipeline[0], masks, dict(type='PackDetInputs')])
"""


@pytest.mark.parametrize('without', [0, 1])
def test_objects_without_a_mask_where_masks_are_loaded(make_own, without):
    how = spoil.items('annotations', lambda item: item['id'] > without, segmentation=[[0, 0, 9, 0, 9, 9]])
    line = told(make_own('coco', spoil=how, lines=MASKS))
    assert re.search(r'\.jpg has an object without a mask; write its', line) if without else line is None, line


@pytest.mark.parametrize(
    'values, is_right', [(dict(iscrowd=0), True), (dict(iscrowd=None), False), (dict(id=lambda item: 'a'), False)]
)
def test_what_cocos_evaluation_cannot_read(make_own, shapes, values, is_right):
    how = spoil.items('annotations', lambda item: item['id'] == 1, 'val', **values)
    evaluator = f"dict(_delete_=True, type='CocoMetric', ann_file='{shapes}/annotations/val.json')"
    line = told(make_own('coco', spoil=how, lines=f'val_evaluator = {evaluator}'))
    assert line is None if is_right else 'needs a number as id and as iscrowd; write 0' in line, line


class OtherKey(CocoDataset):  # as MMDetection's of panoptic segmentation
    def parse_data_info(self, raw_data_info):
        items = [dict(item, bbox=item['box']) for item in raw_data_info['raw_ann_info']]
        return super().parse_data_info(dict(raw_data_info, raw_ann_info=items))


def test_another_format_is_not_taken_for_coco(make_own):
    DATASETS.register_module(module=OtherKey, force=True)
    how = spoil.in_json(lambda content: [item.update(box=item.pop('bbox')) for item in content['annotations']])
    assert told(make_own('coco', spoil=how, lines="train_dataloader['dataset'].update(type='OtherKey')")) is None


def test_images_without_ids_in_own_format(make_own, shapes):
    image = dict(img_path='000000.jpg', instances=[dict(bbox=[1, 1, 9, 9], bbox_label=0, ignore_flag=0)])
    (shapes / 'own.json').write_text(json.dumps(dict(metainfo={}, data_list=[image])))
    own = "type='BaseDetDataset', ann_file='own.json', data_prefix=dict(img_path='JPEGImages')"
    assert told(make_own('coco', lines=f"val_dataloader['dataset'].update(_delete_=True, {own})")) is None
