import re
import runpy
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from small_head import HEAD

TOOL = 'lab/scripts/count_positives.py'
CONFIG = 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py'
NAMES = ('objects', 'positives', 'positives of IoU 0.5', 'negatives', 'neither')


def iou(a, b):
    inter = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return inter / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter)


def anchors_of(size):
    """Of the demo's RPN: one scale per level, three ratios, around each corner of the grid."""
    anchors = []
    for stride in (4, 8, 16, 32, 64):
        for y in range(-(-size // stride)):
            for x in range(-(-size // stride)):
                for ratio in (0.5, 1, 2):
                    width, height = 4 * stride / np.sqrt(ratio), 4 * stride * np.sqrt(ratio)
                    centre = np.array([x * stride, y * stride])
                    half = np.array([width, height]) / 2
                    anchors.append(np.concatenate([centre - half, centre + half]))
    return np.array(anchors)


def share(anchor, ignored):
    """Of the anchor."""
    return np.prod(np.clip(np.minimum(anchor[2:], ignored[2:]) - np.maximum(anchor[:2], ignored[:2]), 0, None)) / (
        np.prod(anchor[2:] - anchor[:2])
    )


@pytest.fixture
def counts(run_tool, repo, shapes, tmp_path):
    """What the tool counts per image on three of twelve, and those three."""

    def count(lines=''):
        steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
        steps.append(dict(type='PackDetInputs'))
        data = f"train_dataloader = dict(dataset=dict(data_root='{shapes}', pipeline={steps}))"
        config = tmp_path / 'config.py'
        config.write_text(f"_base_ = ['{repo / CONFIG}']\n{data}\n{lines}")
        done = run_tool(TOOL, config, '--num-images', 3)
        assert done.returncode == 0, done.stderr
        dataset = DATASETS.build(Config.fromfile(config).train_dataloader.dataset)
        counted = dict(re.findall(r'^(\w[\w .]*?) +([\d.]+)$', done.stdout, re.M))
        return counted, [dataset[index]['data_samples'] for index in (0, 4, 8)]

    return count


def by_a_loop(samples, size, inside_of=None, ignored_from=2.0):
    """The same over anchors and objects; anchors that leave ``inside_of`` pixels do not count."""
    totals = dict.fromkeys(NAMES, 0)
    for sample in samples:
        gts, ignored = (
            instances.bboxes.tensor.numpy().astype(float)
            for instances in (sample.gt_instances, sample.ignored_instances)
        )
        anchors = anchors_of(size)
        if inside_of:
            anchors = anchors[(anchors >= 0).all(1) & (anchors < inside_of).all(1)]
        taken = np.array([max([share(anchor, box) for box in ignored], default=0) for anchor in anchors]) > ignored_from
        ious = np.array([[iou(anchor, gt) for gt in gts] for anchor in anchors]).reshape(len(anchors), len(gts))
        taken &= len(gts) > 0  # without an object, the assigner takes every anchor for a negative
        ious[taken] = -1
        best = ious.max(1, initial=-1)
        positive, theirs = best >= 0.7, ious.argmax(1) if len(gts) else None
        for number, column in enumerate(ious.T):
            if column.max() >= 0.3:
                nearest = column > column.max() - 1e-6
                positive |= nearest
                theirs[nearest] = number  # also where the anchor overlaps another object more
        totals['objects'] += len(gts)
        totals['positives'] += positive.sum()
        totals['positives of IoU 0.5'] += (ious[positive, theirs[positive]] >= 0.5).sum() if len(gts) else 0
        totals['negatives'] += (~positive & ~taken & (best < 0.3)).sum()
        totals['neither'] += (~positive & (taken | (best >= 0.3))).sum()
    return {name: pytest.approx(total / len(samples), abs=0.051) for name, total in totals.items()}


def as_numbers(counted):
    return {name: float(counted[name]) for name in NAMES}


@pytest.mark.slow
def test_counts_are_those_of_a_loop_over_anchors_and_objects(counts):
    counted, samples = counts()
    assert as_numbers(counted) == by_a_loop(samples, 128)
    assert float(counted['neither']) > float(counted['positives']) > 0


@pytest.mark.slow
def test_counts_what_is_trained_on(counts, shapes):
    """Anchors in the padding as well, none across a border, and objects that are ignored."""
    for path in sorted(shapes.glob('Annotations/*.xml')):
        tree = ET.parse(path)
        for item in tree.getroot().findall('object')[:1]:
            item.find('difficult').text = '1'
        tree.write(path)
    padded = 'model = dict(data_preprocessor=dict(pad_size_divisor=160))'
    counted, samples = counts(padded)
    assert as_numbers(counted) == by_a_loop(samples, 160)
    rpn = "model['train_cfg'] = dict(rpn=dict(allowed_border=0, assigner=dict(ignore_iof_thr=0.53)))"
    counted, samples = counts(f'{padded}\n{rpn}')
    assert as_numbers(counted) == by_a_loop(samples, 160, inside_of=128, ignored_from=0.53)
    assert any(len(sample.ignored_instances) for sample in samples)


def test_an_anchor_is_compared_with_the_object_that_it_has(repo):
    """A low-quality match gives it to the object whose best anchor it is, though it overlaps another one more."""
    of_image = runpy.run_path(str(repo / TOOL))['_of_image']
    generator = dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[8])  # all of 32 px
    head = MODELS.build(dict(HEAD, type='RPNHead', anchor_generator=generator))
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), pad_shape=(64, 64)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[16.0, 16, 48, 42], [24, 24, 44, 44]]))
    counts = of_image(head, sample)
    ((anchors,),), _ = head.get_anchors([(8, 8)], [sample.metainfo], device='cpu')
    anchors = InstanceData(priors=anchors)
    objects = InstanceData(bboxes=sample.gt_instances.bboxes, labels=torch.zeros(2, dtype=torch.long))
    assigned = head.assigner.assign(anchors, objects)
    has = assigned.gt_inds > 0
    own = [iou(anchors.priors[i].numpy(), objects.bboxes[assigned.gt_inds[i] - 1].numpy()) for i in has.nonzero()[:, 0]]
    assert counts['positives'] == len(own) and counts['positives of IoU 0.5'] == sum(value >= 0.5 for value in own)
    assert counts['positives of IoU 0.5'] < (assigned.max_overlaps[has] >= 0.5).sum()


@pytest.mark.parametrize('num, asked, expected', [(9, 5, [0, 1, 3, 5, 7]), (3, 5, [0, 1, 2]), (12, 3, [0, 4, 8])])
def test_images_are_spread_over_the_data_set(repo, num, asked, expected):
    assert runpy.run_path(str(repo / TOOL))['spread'](num, asked) == expected


def test_a_teacher_and_too_few_images_are_refused(run_tool, repo):
    config = next((repo / 'configs' / 'nrpn').glob('soft-teacher_*.py'))
    done = run_tool(TOOL, config)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert f'{config}: model.type=' in done.stderr and 'the config of that detector alone' in done.stderr
    done = run_tool(TOOL, config, '--num-images', 0)
    assert done.returncode == 2 and '--num-images: must be 1 or more, got 0' in done.stderr
