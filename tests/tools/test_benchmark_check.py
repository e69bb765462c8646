"""What is wrong with a config or its data is told before any training, in one line with the file, key and remedy."""

import json
import re

import numpy as np
import pytest
import torch
from as_coco import CLASSES
from check_config import Check, Row
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from spoiled_data import drop, each_xml, first, in_json, remove_objects, set_all, set_boxes, set_difficult, told, write

CONFIG = 'rpn_r18-w16_fpn_demo_shapes'
NO_NAMES = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=())]


@pytest.fixture
def make_run(repo, shapes, tmp_path, monkeypatch):
    """The demo config with some lines more, to be checked."""
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')

    def make(lines='', checkpoint=None):
        config = tmp_path / 'mine.py'
        config.write_text(f"_base_ = ['{repo / 'configs' / 'nrpn' / CONFIG}.py']\n{lines}\n")
        return Row(str(config), Config.fromfile(config), checkpoint)

    return make


def test_a_good_config_passes(make_run, capsys):
    assert Check()(make_run()) is None
    assert 'has no object' not in capsys.readouterr().err


@pytest.mark.parametrize('form', ['voc', 'coco'])
def test_good_data_pass(make_own, form):
    assert Check()(make_own(form)) is None


@pytest.mark.parametrize(
    'lines, words',
    [
        ("model = dict(rpn_head=dict(type='HardNegativRPNHead'))", "'HardNegativRPNHead' is not registered.*spelling"),
        ("model = dict(train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampeler'))))", "'NRPNSampeler' is not regist"),
        ("optim_wrapper = dict(optimizer=dict(type='AdmW'))", "'AdmW' is not registered"),
        ("model = dict(rpn_head=dict(type='HardNegativeRPNHead', hardness='typo'))", "hardness='typo'"),
        (f'val_dataloader = dict(dataset=dict(pipeline={NO_NAMES}))', "put 'img_id', 'img_path' into the meta_keys"),
        ("train_dataloader = dict(dataset=dict(data_root='nowhere/'))", 'nowhere/.* is not there; check data_root'),
        ("data = dict(metainfo=dict(classes=('cat', 'dog')))", 'classes=.*cat.*called .*disc.*write the names'),
        ("data = dict(metainfo=dict(classes=('disc')))", r"classes='disc' is no tuple; write classes=\('disc',\)"),
        ('default_hooks = dict(checkpoint=None)', 'default_hooks.checkpoint=None'),
        ('train_dataloader = dict(dataset=dict(filter_cfg=dict(min_size=999)))', 'filter_cfg=.*min_size.*12 images'),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_to_do(make_run, lines, words):
    if lines.startswith('data = '):
        lines += '\ntrain_dataloader = val_dataloader = dict(dataset=data)'
    line = told(make_run(lines))
    assert re.search(words, line), line


# --- the ways to walk docs/get_started.md wrong


@pytest.mark.parametrize('form', ['voc', 'coco'])
def test_no_class_is_spelt_right(make_own, form):
    line = told(make_own(form, classes=('Disc', 'Square')))
    assert 'train_dataloader.dataset' in line and 'Disc' in line and "'disc', 'square', 'triangle'" in line
    assert ('train.json' if form == 'coco' else 'Annotations') in line


def test_one_class_is_misspelt(make_own, capsys):
    """MMDetection numbers COCO's other classes anew, so that their labels are wrong as well: an error, not a remark."""
    assert Check()(make_own('voc', classes=('disc', 'Square', 'triangle'))) is None
    assert "train_dataloader.dataset has no object of ['Square']; if it should, check the spelling of ['square']" in (
        capsys.readouterr().err
    )
    line = told(make_own('coco', classes=('disc', 'Square', 'triangle')))
    assert "['Square']" in line and 'train.json' in line and "['disc', 'square', 'triangle']" in line


@pytest.mark.parametrize('form', ['voc', 'coco'])
@pytest.mark.parametrize('others', [('cat', 'dog'), ('disc',)])
def test_validation_has_other_classes(make_own, form, others):
    lines = f"val_dataloader = dict(dataset=dict(val_dataloader['dataset'], metainfo=dict(classes={others})))"
    line = told(make_own(form, lines=lines))
    assert 'val_dataloader.dataset' in line and others[0] in line


@pytest.mark.parametrize(
    'form, spoil',
    [
        ('voc', each_xml(remove_objects, 'val')),
        ('voc', each_xml(set_difficult, 'val')),
        ('coco', in_json(lambda content: content['annotations'].clear(), 'val')),
        ('coco', in_json(set_all('annotations', iscrowd=1), 'val')),
    ],
)
def test_validation_has_no_objects(make_own, form, spoil):
    line = told(make_own(form, spoil=spoil))
    assert 'val_dataloader.dataset' in line and re.search('no object.*(ann_file|is ignored)', line), line


@pytest.mark.parametrize(
    'form, spoil, words',
    [
        ('coco', in_json(set_all('annotations', area=0)), "'area' is 0"),
        ('coco', in_json(set_all('annotations', bbox=[0.1, 0.2, 0.3, 0.4])), 'fractions of the image'),
        ('coco', in_json(set_all('annotations', bbox=[0.0, 0.0, 1.0, 1.0])), 'fractions of the image'),
        ('voc', each_xml(lambda root: set_boxes(root, (0.1, 0.2, 1.0, 1.0))), 'fractions of the image'),
        ('coco', in_json(set_all('annotations', bbox=[10, 10, 0, 0])), 'width and a height'),
        ('coco', in_json(set_all('annotations', image_id=999)), 'no image_id of an annotation'),
        ('voc', each_xml(lambda root: set_boxes(root, (0.1, 0.2, 0.4, 0.6))), 'fractions of the image'),
        ('voc', each_xml(lambda root: set_boxes(root, (9, 9, 9, 9))), 'width and a height'),
    ],
)
def test_boxes_are_not_in_pixels(make_own, form, spoil, words):
    line = told(make_own(form, spoil=spoil))
    assert re.search(f'train_dataloader.dataset.*(train.json|Annotations).*{words}', line), line
    assert 'names' not in line


@pytest.mark.parametrize(
    'spoil, words',
    [
        (write('Annotations/{}.xml', b''), 'is empty'),
        (write('Annotations/{}.xml', b'<annotation><size>'), 'is no XML'),
        (lambda root: (root / f'Annotations/{first(root)}.xml').unlink(), 'is not there'),
        (
            each_xml(
                lambda root: [item.remove(item.find('bndbox')) for item in root.findall('object')], 'train', False
            ),
            'has no bndbox in object 1',
        ),
        (
            each_xml(lambda root: setattr(root.find('size/width'), 'text', '64.0'), 'train', False),
            '<width>64.0</width>',
        ),
        (each_xml(lambda root: set_boxes(root, ('a', 1, 2, 3)), 'train', False), '<xmin>a</xmin> in object 1'),
    ],
)
def test_one_broken_xml(make_own, shapes, spoil, words):
    line = told(make_own('voc', spoil=spoil))
    assert re.search(
        f'train_dataloader.dataset: {shapes}/Annotations/{first(shapes)}.xml .*{words}.*; mend it', line
    ), line


@pytest.mark.parametrize(
    'encoding, words',
    [('latin-1', 'is not in UTF-8; save it in UTF-8'), ('utf-8-sig', 'a byte order mark; save it in')],
)
def test_a_list_in_another_encoding(make_own, shapes, encoding, words):
    def spoil(root):
        path = root / 'ImageSets' / 'Main' / 'train.txt'
        path.write_text(f'{path.read_text()}bär\n', encoding=encoding)

    line = told(make_own('voc', spoil=spoil))
    assert re.search(f'train_dataloader.dataset: {shapes}/ImageSets/Main/train.txt .*{words}', line), line


@pytest.mark.parametrize(
    'spoil, words',
    [
        (
            in_json(lambda content: [item.update(image_id=str(item['image_id'])) for item in content['annotations']]),
            r"no image_id of an annotation \('\d+', say\) is the id of an image \(\d+, say\); make them equal",
        ),
        (in_json(drop('annotations', 'area')), "has no 'area' in annotations.*width . height"),
        (in_json(drop('images', 'width')), "has no 'width' in images"),
        (in_json(lambda content: content.pop('categories')), "has no 'categories'"),
        (in_json(set_all('annotations', id=1)), 'the same id'),
        (in_json(lambda content: content['annotations'][2].update(bbox=[])), r'bbox=\[\] in annotations, id 3'),
        (in_json(lambda content: content['annotations'][2].update(bbox=None)), r'bbox=None in annotations, id 3'),
        (in_json(lambda content: content.update(images=None)), r'images=None, which is no list'),
        (write('annotations/train.json', b'{"images": ['), 'is no JSON'),
        (write('annotations/train.json', b'[]'), 'is a list'),
    ],
)
def test_a_broken_json(make_own, spoil, words):
    line = told(make_own('coco', spoil=spoil))
    assert re.search(f'train_dataloader.dataset: .*annotations/train.json .*{words}', line), line


@pytest.mark.parametrize('content', [b'', b'\xff\xd8\xff\xe0 no image', None, 'png'])
def test_an_image_that_is_not_there_or_cannot_be_read(make_own, shapes, content):
    def spoil(root):
        path = root / 'JPEGImages' / f'{first(root)}.jpg'
        if content in (None, 'png'):
            path.unlink()
            if content:
                Image.fromarray(np.zeros((8, 8), np.uint8)).save(path.with_suffix('.png'))
        else:
            path.write_bytes(content)

    line = told(make_own('voc', spoil=spoil))
    what = {None: 'is not there; check data_root', 'png': f'is not there; {first(shapes)}.png is, but XMLDataset reads'}
    assert f'train_dataloader.dataset: {shapes}/JPEGImages/{first(shapes)}.jpg ' in line
    assert what.get(content, 'cannot be read as an image; replace it') in line


def test_images_of_other_kinds_are_read(make_own):
    """PNG in a .jpg, grey and 16 bit: what MMDetection reads is not refused."""

    def spoil(root):
        paths = sorted((root / 'JPEGImages').glob('*.jpg'))
        size = Image.open(paths[0]).size
        with open(paths[0], 'wb') as file:
            Image.new('L', size).save(file, 'PNG')
        with open(paths[1], 'wb') as file:
            Image.fromarray(np.full(size[::-1], 40000, np.uint16)).save(file, 'PNG')
        paths[2].write_bytes(paths[2].read_bytes() + b'\0\0')  # as some cameras write it

    assert Check()(make_own('voc', spoil=spoil)) is None


WRAPPED = """
parts = {parts}
train_dataloader = dict(dataset=dict(_delete_=True, **parts))
"""
PART = (
    "dict(type='XMLDataset', data_root=data_root, ann_file='ImageSets/Main/{split}.txt', "
    "metainfo=dict(classes={classes}), data_prefix=dict(sub_data_root=''), pipeline=train_pipeline, "
    'filter_cfg=dict(filter_empty_gt=True))'
)
RIGHT, WRONG = PART.format(split='val', classes=CLASSES), PART.format(split='train', classes=('a', 'b', 'c'))


@pytest.mark.parametrize(
    'parts, key',
    [
        ("dict(type='RepeatDataset', times=2, dataset={})", 'train_dataloader.dataset.dataset'),
        ("dict(type='ConcatDataset', datasets=[{right}, {}])", 'train_dataloader.dataset.datasets[1]'),
        (
            "dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[{}]))",
            'train_dataloader.dataset.dataset.datasets[0]',
        ),
        ("dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset={})", 'train_dataloader.dataset.dataset'),
    ],
)
def test_wrapped_data_sets_are_looked_at(make_own, parts, key):
    lines = 'train_pipeline = _base_.train_pipeline\n'
    good = make_own('voc', lines=lines + WRAPPED.format(parts=parts.format(RIGHT, right=RIGHT)))
    assert Check()(good) is None
    line = told(make_own('voc', lines=lines + WRAPPED.format(parts=parts.format(WRONG, right=RIGHT))))
    assert f'{key}: metainfo.classes' in line, line


def test_images_without_objects_beside_others_are_fine(make_own):
    parts = f"dict(type='ConcatDataset', datasets=[{PART.format(split='train', classes=CLASSES)}, {RIGHT}])"
    lines = f'train_pipeline = _base_.train_pipeline\n{WRAPPED.format(parts=parts)}'.replace(
        '_empty_gt=True', '_empty_gt=False'
    )
    assert Check()(make_own('voc', spoil=each_xml(remove_objects), lines=lines)) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    'tool', [['tools/check_config.py'], ['tools/benchmark', '--work-dir', 'work_dirs/never', '--dry-run']]
)
def test_a_dry_run_and_the_command_end_in_that_line(run_tool, repo, make_own, tool):
    run = make_own('voc', classes=('Disc', 'Square'))
    done = run_tool(*tool, run.source)
    assert done.returncode == 1
    assert 'write the names as they stand there' in done.stderr.strip().splitlines()[-1]
    assert not (repo / 'work_dirs' / 'never').exists()


def test_a_checkpoint_of_another_model_is_told(make_run, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(64, 3, 7, 7)}), path)
    assert 'other.pth is of another model' in told(make_run(checkpoint=path))


def test_an_rpn_is_found_in_the_checkpoint_of_a_two_stage_detector(make_run, tmp_path):
    run = make_run()
    init_default_scope('mmdet')
    weights = {
        key.replace('bbox_head', 'rpn_head'): value for key, value in MODELS.build(run.cfg.model).state_dict().items()
    }
    torch.save(dict(state_dict={**weights, 'roi_head.fc.weight': torch.zeros(3)}), tmp_path / 'faster.pth')
    assert Check()(make_run(checkpoint=tmp_path / 'faster.pth')) is None


@pytest.mark.parametrize(
    'lines, given',
    [
        ("load_from = '{url}'", 'load_from={url!r}'),
        (
            "model = dict(backbone=dict(init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='{url}')))",
            'backbone.init_cfg.checkpoint={url!r}',
        ),
    ],
)
def test_weights_that_cannot_be_downloaded_are_named_with_their_place(make_run, tmp_path, monkeypatch, lines, given):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    url = 'http://127.0.0.1:9/weights-1.pth'  # nobody answers there
    run = make_run(lines.format(url=url))
    place = tmp_path / 'torch' / 'hub' / 'checkpoints' / 'weights-1.pth'
    line = told(run)
    assert given.format(url=url) in line and 'cannot be downloaded' in line
    assert line.endswith(f'get {url} elsewhere and put it there as {place}')
    place.parent.mkdir(parents=True)
    place.touch()
    assert Check()(run) is None


def test_short_names_of_weights_are_addresses(make_run, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr('config_check.weights._unreachable', lambda address: f'no way to {address}')
    weights = dict(_delete_=True, type='Pretrained', checkpoint='open-mmlab://resnet50_v1c')
    line = told(make_run(f'model = dict(backbone=dict(init_cfg={weights}))'))
    assert re.search(r'open-mmlab://resnet50_v1c.*no way to https://.*\.pth', line), line


def test_a_tracker_passes(run_tool, shapes, tracker):
    """Its data set has videos, here one of three frames."""
    images = sorted((shapes / 'JPEGImages').iterdir())[:3]
    frames = [dict(id=n, video_id=1, frame_id=n, file_name=image.name, width=128, height=128)
              for n, image in enumerate(images)]  # fmt: skip
    objects = dict(bbox=[9, 9, 30, 30], area=900, category_id=1, instance_id=1, mot_conf=1.0, visibility=1.0)
    objects = [dict(objects, id=n, image_id=n, video_id=1) for n in range(3)]
    content = dict(videos=[dict(id=1, name='shapes')], images=frames, annotations=objects)
    (shapes / 'video.json').write_text(json.dumps(dict(content, categories=[dict(id=1, name='pedestrian')])))
    lines = f"given = dict(data_root='{shapes}/', ann_file='video.json', data_prefix=dict(img_path='JPEGImages'))\n"
    lines += 'train_dataloader = val_dataloader = dict(dataset=given)\n'
    tracker.write_text(tracker.read_text() + lines)
    done = run_tool('tools/check_config.py', tracker)
    assert done.returncode == 0, done.stderr
    assert 'nothing wrong' in done.stdout
