import json
import re

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from pycocotools.coco import COCO

from lab.scripts.ignore_false_positives import regions_of
from mmdet_nrpn.evaluation import ProposalErrors

TOOL = 'lab/scripts/ignore_false_positives.py'
CLASSES = ('disc', 'square', 'triangle')
MASKS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


def errors(gt_bboxes, false_positives, scores):
    """False positives are best first, as the RPN's proposals are."""
    wrong = np.array(false_positives, dtype=np.float32).reshape(-1, 4)
    objects = np.array(gt_bboxes, dtype=np.float32).reshape(-1, 4)
    nothing, ranks = wrong[:0], np.arange(1, len(wrong) + 1)
    missed, predicted = np.full(len(objects), 101), np.zeros(len(wrong), bool)
    return ProposalErrors(
        objects, missed, nothing, wrong, np.array(scores, np.float32), ranks, nothing, nothing[:, 0], predicted
    )


@pytest.mark.parametrize(
    'box, is_clear',
    [
        ([100.0, 100, 130, 130], True),
        ([12.0, 12, 20, 20], False),  # a part of the object: IoU 0.04
        ([0.0, 0, 100, 100], False),  # holds the object: IoU 0.16
        ([46.0, 10, 76, 50], True),  # 0.1 of the object and 0.13 of the box
        ([35.0, 10, 85, 50], False),  # 0.375 of the object and 0.3 of the box: IoU 0.2
        ([42.0, 10, 60, 50], False),  # 0.2 of the object and 0.44 of the box: IoU 0.16
        ([100.0, 100, 100.5, 130], False),  # MMDetection would pass over it
    ],
)
def test_regions_keep_clear_of_objects(box, is_clear):
    regions = regions_of(errors([[10.0, 10, 50, 50]], [box], [0.9]), 0.5, 3)
    assert len(regions) == is_clear


def test_regions_are_the_top_after_nms():
    boxes = [[10 * i, 0, 10 * i + 8, 8] for i in range(6)]
    boxes.insert(1, [0, 0, 8, 9])  # the first once more
    scores = [0.9, 0.85, 0.8, 0.75, 0.7, 0.5, 0.4]
    regions = regions_of(errors([], boxes, scores), 0.5, 3)
    assert regions.bboxes.tolist() == [boxes[0], boxes[2], boxes[3]]
    regions = regions_of(errors([], boxes, scores), 0.5, 100)
    assert regions.scores.tolist() == pytest.approx([0.9, 0.8, 0.75, 0.7, 0.5])
    assert len(regions_of(errors([], [], []), 0.0, 3)) == 0


@pytest.fixture
def make(run_tool, repo, shapes, tmp_path):
    """Run the tool with an RPN that has learnt nothing, on a config with some lines more."""

    def make(*args, lines='', out=tmp_path / 'new' / 'regions.json', **more):
        config, checkpoint = tmp_path / 'mine.py', tmp_path / 'new.pth'
        base = repo / 'configs' / 'nrpn' / 'rpn_r18-w16_fpn_demo_shapes.py'
        config.write_text(f"_base_ = ['{base}']\n{lines}")
        torch.manual_seed(0)
        torch.save(MODELS.build(Config.fromfile(config).model).state_dict(), checkpoint)
        done = run_tool(TOOL, config, checkpoint, out, *args, SHAPES_ROOT=f'{shapes}/', **more)
        return done, json.loads(out.read_text()) if out.is_file() and done.returncode == 0 else None

    return make


def data_set(type, root, ann_file, pipeline=(), **kwargs):
    cfg = dict(data_root=str(root), ann_file=str(ann_file), metainfo=dict(classes=CLASSES), pipeline=[*pipeline])
    return DATASETS.build(dict(type=type, **cfg, **kwargs))


def test_vocs_format(make, shapes, tmp_path):
    """Objects are those that MMDetection reads from the XML, and regions are read as ignored."""
    done, content = make('--score', 0.2, '--per-image', 2)
    assert done.returncode == 0, done.stderr
    voc = data_set('XMLDataset', shapes, 'ImageSets/Main/train.txt', data_prefix=dict(sub_data_root=''))
    coco = data_set('CocoDataset', shapes, tmp_path / 'new' / 'regions.json', data_prefix=dict(img=''))
    assert len(coco) == len(voc) == 12
    num_regions = 0
    for old, new in zip(map(voc.get_data_info, range(12)), map(coco.get_data_info, range(12))):
        assert new['img_path'] == old['img_path'] and (new['width'], new['height']) == (old['width'], old['height'])
        before, regions = new['instances'][: len(old['instances'])], new['instances'][len(old['instances']) :]
        assert before == old['instances']
        assert len(regions) <= 2 and all(region['ignore_flag'] == 1 for region in regions)
        num_regions += len(regions)
    assert num_regions > 12
    assert f'{len(content["annotations"]) - num_regions} annotations and {num_regions} regions' in done.stdout

    api = COCO(str(tmp_path / 'new' / 'regions.json'))
    regions = [annotation for annotation in content['annotations'] if 'score' in annotation]
    for image in api.getImgIds():
        (crowd, ordinary) = (api.loadAnns(api.getAnnIds([image], iscrowd=flag)) for flag in (True, False))
        mine = [annotation for annotation in crowd if 'score' in annotation]
        for annotation in mine:
            x, y, w, h = annotation['bbox']
            # in pixels of the original image, although the RPN saw it twice as large
            assert x >= 0 and y >= 0 and x + w <= 128.05 and y + h <= 128.05 and annotation['score'] >= 0.2
            for other in ordinary:
                assert shared(annotation['bbox'], other['bbox']) < 0.31 * min(annotation['area'], other['area'])
    assert max(region['bbox'][0] + region['bbox'][2] for region in regions) > 64


def test_they_are_trained_with(make, run_tool, shapes, tmp_path):
    done, content = make('--score', 0.2, out=shapes / 'regions.json')
    assert done.returncode == 0 and any('score' in annotation for annotation in content['annotations'])
    config = 'lab/configs/nrpn-focal_r18-w16_fpn_demo_partly-shapes.py'
    short = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2']
    options = ['--work-dir', tmp_path / 'work', '--cfg-options', *short]
    done = run_tool('tools/train.py', config, *options, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0 and 'proposal/AR@100' in done.stdout + done.stderr, done.stderr[-3000:]


VOC_LINES = """
train_dataloader = dict(dataset=dict(
    _delete_=True, type='VOCDataset', data_root='{root}/', ann_file='VOC2007/ImageSets/Main/train.txt',
    data_prefix=dict(sub_data_root='VOC2007/'), pipeline=_base_.train_pipeline, {more}
))
"""


@pytest.mark.parametrize(
    'more, num, wrap',
    [
        ('', 12, ''),
        ('indices=range(4, 10)', 6, ''),
        ('filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=40)', 12, '.dataset'),
    ],
)
def test_the_printed_lines_read_the_same_objects(make, voc, tmp_path, more, num, wrap):
    lines = VOC_LINES.format(root=voc.parent, more=more)
    if wrap:
        lines += "train_dataloader['dataset'] = dict(\n    _delete_=True, type='RepeatDataset', times=2,"
        lines += " dataset={k: v for k, v in train_dataloader['dataset'].items() if k != '_delete_'})\n"
    done, _ = make('--score', 0.2, lines=lines)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith('To train with them: ')]
    key, changes = re.fullmatch(r'To train with them: (\S+) with (.+)', line).groups()
    assert key == f'train_dataloader.dataset{wrap}'
    cfg = Config.fromfile(tmp_path / 'mine.py').train_dataloader.dataset
    cfg = cfg.dataset if wrap else cfg
    before = DATASETS.build(cfg)
    cfg.update(eval(f'dict({changes})'))
    after = DATASETS.build(cfg)
    assert len(before) == len(after) == num
    assert after.metainfo['classes'] == before.metainfo['classes']
    added = ignored = 0
    for index in range(num):
        old, new = (dataset.get_data_info(index)['instances'] for dataset in (before, after))
        assert new[: len(old)] == old
        added += len(new) - len(old)
        ignored += sum(instance['ignore_flag'] for instance in old)
        assert all(instance['ignore_flag'] == 1 for instance in new[len(old) :])
    assert added > num and (ignored > 7) is ('bbox_min_size' in more)  # 7 are difficult


def test_images_that_training_leaves_out_get_no_regions(make, voc, tmp_path):
    """MMDetection's assigner would make all their anchors negatives, the region's, too."""
    names = (voc / 'ImageSets' / 'Main' / 'train.txt').read_text().split()
    path = voc / 'Annotations' / f'{names[2]}.xml'
    path.write_text(re.sub('<object>.*</object>', '', path.read_text(), flags=re.S))
    empty = [f'VOC2007/JPEGImages/{names[2]}.jpg']
    for number, (leaves_out, left) in enumerate([('True', []), ('False', empty)]):
        lines = VOC_LINES.format(root=voc.parent, more=f'filter_cfg=dict(filter_empty_gt={leaves_out})')
        done, content = make('--score', 0.2, lines=lines, out=tmp_path / f'{number}.json')
        assert done.returncode == 0, done.stderr
        files = {image['id']: image['file_name'] for image in content['images']}
        with_regions = {files[region['image_id']] for region in content['annotations'] if 'score' in region}
        assert len(with_regions) > 6 and sorted(with_regions & {*empty}) == left
        assert ('1 images without an object get no regions' in done.stdout) is (leaves_out == 'True')


def shared(one, other):
    """Pixels that two boxes (x, y, width, height) have in common."""
    sides = [min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    return max(sides[0], 0) * max(sides[1], 0)


COCO_LINES = """
train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=2, dataset=dict(
    type='CocoDataset', data_root=_base_.data_root, ann_file='mine.json', data_prefix=dict(img='JPEGImages/'),
    metainfo=dict(classes=('square', 'disc')), filter_cfg=dict(filter_empty_gt=False, min_size=32),
    pipeline=_base_.train_pipeline,
)))
"""


@pytest.mark.parametrize('ids', [(41, 7), ('a1', 7), (4.0, 7.0)])
def test_cocos_format_keeps_all_that_was_there(make, shapes, tmp_path, ids):
    """Ids with gaps or of letters, a category that is not trained, keys of one's own, and images without an object."""
    names = (shapes / 'ImageSets' / 'Main' / 'train.txt').read_text().split()
    sizes = dict(width=128, height=128)
    images = [dict(id=900 - 7 * i, file_name=f'{name}.jpg', mine=i, **sizes) for i, name in enumerate(names)]
    polygon = [[30, 30, 60, 30, 60, 60]]
    annotation = dict(image_id=900, bbox=[30, 30, 30, 30], area=450.0, iscrowd=0, segmentation=polygon, by='me')
    before = dict(
        info=dict(year=2026),
        licenses=[],
        images=images,
        annotations=[dict(annotation, id=number, category_id=label) for number, label in zip(ids, (5, 3))],
        categories=[dict(id=5, name='disc'), dict(id=3, name='triangle'), dict(id=9, name='square')],
    )
    (shapes / 'mine.json').write_text(json.dumps(before))
    done, after = make('--score', 0.2, lines=COCO_LINES)
    assert done.returncode == 0, done.stderr
    assert json.loads((shapes / 'mine.json').read_text()) == before
    added = after['annotations'][2:]
    after['annotations'] = after['annotations'][:2]
    assert after == before and len(added) > 12
    assert len({annotation['id'] for annotation in added} | {*ids}) == len(added) + 2
    assert {annotation['category_id'] for annotation in added} <= {5, 9}  # else they would be passed over
    assert len({annotation['image_id'] for annotation in added} & {image['id'] for image in images}) > 6

    options = dict(data_prefix=dict(img='JPEGImages/'), pipeline=MASKS)
    coco = data_set('CocoDataset', shapes, tmp_path / 'new' / 'regions.json', **options)
    flags = [coco[index]['gt_ignore_flags'] for index in range(len(coco))]
    assert sum(map(sum, flags)) == len(added)  # also read where masks are


def test_classes_that_the_file_does_not_have_are_refused(make, shapes):
    content = dict(images=[dict(id=1, file_name='000000.jpg', width=128, height=128)], annotations=[])
    (shapes / 'mine.json').write_text(json.dumps(dict(content, categories=[dict(id=1, name='Disc')])))
    done, _ = make(lines=COCO_LINES)
    assert done.returncode == 1
    assert f"classes=('square', 'disc') has no category of {shapes}/mine.json" in done.stderr


def test_nothing_that_is_there_is_lost(make, tmp_path):
    out = tmp_path / 'regions.json'
    out.write_text('work of days')
    done, _ = make(out=out)
    assert done.returncode == 2 and f'{out} is there already; name a new file' in done.stderr
    assert out.read_text() == 'work of days'


@pytest.mark.parametrize(
    'args, words',
    [
        (['--score', 1.5], '--score is an objectness in [0, 1], got 1.5'),
        (['--score', 1.0], 'No false positive has an objectness of 1.0 or more; give a lower --score'),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, tmp_path, args, words):
    done, _ = make(*args)
    assert done.returncode != 0 and words in done.stderr
    assert not (tmp_path / 'new' / 'regions.json').exists()


CONCATENATED = """
one = _base_.train_dataloader.dataset
train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[one, one]))
"""
FLIPPED = "val_dataloader = dict(dataset=dict(pipeline=[*_base_.test_pipeline[:3], dict(type='RandomFlip', prob=1.0),"
FLIPPED += "dict(type='PackDetInputs')]))"


@pytest.mark.parametrize(
    'lines, words',
    [
        (CONCATENATED, 'mine.py: train_dataloader.dataset is a ConcatDataset of 2 data sets; write a config for each'),
        ('val_dataloader = val_cfg = val_evaluator = None', 'there is no pipeline without augmentation; give it a val'),
        (FLIPPED, 'take RandomFlip out'),
    ],
)
def test_configs_that_it_cannot_use_are_refused(make, lines, words):
    done, _ = make(lines=lines)
    assert done.returncode == 1 and words in done.stderr


@pytest.mark.parametrize(
    'config, checkpoint, option, words',
    [
        ('nowhere', __file__, [], 'nowhere is not there'),
        (__file__, 'nowhere', [], 'nowhere is not there'),
        (__file__, __file__, ['--per-image', 0], '--per-image: must be 1 or more, got 0'),
    ],
)
def test_missing_files_and_counts_that_make_no_sense_are_refused(run_tool, config, checkpoint, option, words):
    done = run_tool(TOOL, config, checkpoint, 'new.json', *option)
    assert done.returncode == 2 and words in done.stderr and 'Traceback' not in done.stderr


def test_a_place_that_cannot_be_written_is_refused_at_the_start(make, tmp_path):
    (tmp_path / 'file').write_text('')
    done, _ = make(out=tmp_path / 'file' / 'regions.json')
    assert done.returncode == 2 and 'OUT must name a file in a folder' in done.stderr
