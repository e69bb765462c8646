"""Where MMDetection cannot read a data set, or nothing of it is left: the file, the right cause and what to do."""

import re

import pytest
from check_config import Check
from spoiled_data import (
    dangle,
    each_text,
    each_xml,
    first,
    in_gb2312,
    in_json,
    in_list,
    of_class,
    rename_images,
    set_all,
    set_size,
    told,
    write,
)


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
