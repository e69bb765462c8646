import json
import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

pytestmark = pytest.mark.slow
TOOL = 'tools/analysis_tools/browse_hard_negatives.py'
SHORT = [
    '--cfg-options', 'train_cfg.max_iters=3', 'train_cfg.val_interval=3', 'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1', 'randomness.seed=0',
]  # fmt: skip

FASTER = """
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '{configs}/_base_/datasets/shapes.py',
          '{configs}/_base_/schedules/schedule_demo.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64]),
    rpn_head=dict(type='HardNegativeRPNHead'),
    roi_head=dict(bbox_head=dict(num_classes=3)),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler')), rpn_proposal=dict(max_per_img=20)),
)
default_hooks = dict(hard_negatives=dict(type='HardNegativeVisualizationHook', interval=3))
"""


def data_of(page):
    return json.loads(re.search('application/json">(.*?)</script>', page.read_text(), re.S)[1])


def test_a_detector_beside_one_without_nrpn(run_tool, repo, shapes, tmp_path):
    config, work_dir, page = tmp_path / 'faster.py', tmp_path / 'work', tmp_path / 'new' / 'page.html'
    config.write_text(FASTER.format(configs=repo / 'configs' / 'nrpn'))
    train = run_tool('tools/train.py', config, '--work-dir', work_dir, *SHORT, SHAPES_ROOT=f'{shapes}/')
    assert train.returncode == 0, train.stderr
    assert len([*work_dir.glob('*/vis_data/vis_image/hard_negatives_3.png')]) == 1
    mine = work_dir / 'iter_3.pth'
    stripped = run_tool('tools/fold/strip.py', mine, tmp_path / 'stock')
    assert stripped.returncode == 0, stripped.stderr
    (stock,) = (tmp_path / 'stock').glob('*.pth')

    done = run_tool(TOOL, config, mine, '--baseline', config, stock, '--out', page, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    data = data_of(page)
    assert data['names'] == [str(stock), str(mine)] and len(data['images']) == 4
    for image in data['images']:
        before, after = image['rpns']
        assert before['regions'] is None and len(after['regions']) > 0
        # the RPN is the same one; only what nRPN says of a false positive is not there
        assert before['ranks'] == after['ranks']
        assert [box[:7] for box in before['false']] == [box[:7] for box in after['false']]
        assert all(box[6] <= box[5] for box in after['false'])  # the other has it, too


@pytest.fixture
def make_page(run_tool, repo, shapes, tmp_path):
    """The page's data of an untrained stock RPN with lines added to its config, or why there is none."""

    def make(lines, state=None):
        config, out = tmp_path / 'mine.py', tmp_path / 'page.html'
        out.unlink(missing_ok=True)
        config.write_text(f"_base_ = ['{repo}/configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py']\n{lines}")
        torch.manual_seed(0)
        torch.save(state or MODELS.build(Config.fromfile(config).model).state_dict(), tmp_path / 'new.pth')
        done = run_tool(TOOL, config, tmp_path / 'new.pth', '--out', out, SHAPES_ROOT=f'{shapes}/')
        assert done.returncode == (0 if out.is_file() else 1) and 'Traceback' not in done.stderr, done.stderr
        return data_of(out)['images'] if out.is_file() else done.stderr

    return make


def pipeline(*transforms):
    return f'val_dataloader = dict(dataset=dict(pipeline={[*transforms]}))'


LOAD, LOAD_GREY = dict(type='LoadImageFromFile'), dict(type='LoadImageFromFile', color_type='grayscale')
ANNOTATIONS, PACK = dict(type='LoadAnnotations', with_bbox=True), dict(type='PackDetInputs')
RESIZE = dict(type='Resize', scale=(96, 96), keep_ratio=True)
GREY_MODEL = """
model = dict(data_preprocessor=dict(mean=[0.0], std=[255.0], bgr_to_rgb=False), backbone=dict(in_channels=1))
"""


def test_objects_are_those_of_the_data_set_whatever_the_pipeline_does(make_page):
    expected = make_page(pipeline(LOAD, RESIZE, ANNOTATIONS, PACK))
    assert sum(len(image['objects']) for image in expected) > 0
    assert all(re.fullmatch(r'\d+\.jpg', image['name']) for image in expected)
    assert make_page(pipeline(LOAD, ANNOTATIONS, RESIZE, PACK)) == expected


def test_padding_is_no_part_of_the_image(make_page):
    padded = make_page(pipeline(LOAD, RESIZE, dict(type='Pad', size=(192, 224)), ANNOTATIONS, PACK))
    expected = make_page(pipeline(LOAD, RESIZE, ANNOTATIONS, PACK))
    assert [image['jpeg'] for image in padded] == [image['jpeg'] for image in expected]


def test_grey_images(make_page):
    images = make_page(GREY_MODEL + pipeline(LOAD_GREY, RESIZE, ANNOTATIONS, PACK))
    assert all(image['jpeg'].startswith('data:image/jpeg;base64,') for image in images)


TWO_FOLDERS = """
one = _base_.val_dataloader.dataset
other = dict(one, ann_file='other.txt', img_subdir='other')
val_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[one, other]))
"""


def test_images_of_the_same_name_in_two_folders_are_told_apart(make_page, shapes):
    (shapes / 'other').symlink_to('JPEGImages', target_is_directory=True)
    names = (shapes / 'ImageSets/Main/val.txt').read_text().split()
    (shapes / 'other.txt').write_text(names[0])
    shown = [image['name'] for image in make_page(TWO_FOLDERS)]
    assert shown == [f'JPEGImages/{name}.jpg' for name in names] + [f'other/{names[0]}.jpg']


RETINANET = """
head = dict(type='RetinaHead', num_classes=3, in_channels=16)
model = dict(_delete_=True, type='RetinaNet', backbone=_base_.model.backbone, neck=_base_.model.neck, bbox_head=head)
"""
OTHER_HEAD = "model = dict(rpn_head=dict(_delete_=True, type='RetinaHead', num_classes=1, in_channels=16))"
FLIP = pipeline(LOAD, RESIZE, ANNOTATIONS, dict(type='RandomFlip', prob=1.0), PACK)
CONV = 'backbone.conv1.weight'
A_DETECTOR = 'give the config of a detector with one'


@pytest.mark.parametrize(
    'lines, state, words',
    [
        (OTHER_HEAD, None, f'mine.py: RPN has no RPN of its own: its RetinaHead is no RPNHead; {A_DETECTOR}'),
        (RETINANET, None, f'mine.py: RetinaNet has no RPN of its own; {A_DETECTOR}'),
        ('val_dataloader = val_cfg = val_evaluator = None', None, 'mine.py: there are no images to look at; give it a'),
        (FLIP, None, r'mine.py: val_dataloader: image .*take RandomFlip out'),
        ('', {CONV: torch.zeros(16, 3, 7, 7)}, 'new.pth is of another model: '),
        ('', {CONV: torch.zeros(64, 3, 7, 7)}, f'size mismatch for {CONV}'),
    ],
)
def test_what_the_page_cannot_be_made_of_is_refused(make_page, lines, state, words):
    assert re.search(words, make_page(lines, state))
