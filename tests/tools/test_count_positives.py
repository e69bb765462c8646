import re

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config

TOOL = 'tools/analysis_tools/count_positives.py'
CONFIG = 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py'


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


@pytest.mark.slow
def test_counts_are_those_of_a_loop_over_anchors_and_objects(run_tool, repo, shapes, tmp_path):
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), dict(type='PackDetInputs')]
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = ['{repo / CONFIG}']\ntrain_dataloader = dict(dataset=dict(data_root='{shapes}', pipeline={steps}))\n"
    )
    refused = run_tool(TOOL, config, '--num-images', 0)
    assert refused.returncode == 2 and '--num-images must be 1 or more, got 0' in refused.stderr
    done = run_tool(TOOL, config, '--num-images', 3)
    assert done.returncode == 0, done.stderr
    counted = dict(re.findall(r'^(\w[\w .]*?) +([\d.]+)$', done.stdout, re.M))

    dataset = DATASETS.build(Config.fromfile(config).train_dataloader.dataset)
    totals = dict.fromkeys(['objects', 'positives', 'negatives', 'neither'], 0)
    for index in (0, 4, 8):  # of twelve
        sample = dataset[index]['data_samples']
        gts, anchors = sample.gt_instances.bboxes.tensor.numpy().astype(float), anchors_of(sample.img_shape[0])
        ious = np.array([[iou(anchor, gt) for gt in gts] for anchor in anchors]).reshape(len(anchors), len(gts))
        best = ious.max(1, initial=0)
        positive = best >= 0.7
        for column in ious.T:
            if column.max() >= 0.3:
                positive |= column > column.max() - 1e-6
        totals['objects'] += len(gts)
        totals['positives'] += positive.sum()
        totals['negatives'] += (~positive & (best < 0.3)).sum()
        totals['neither'] += (~positive & (best >= 0.3)).sum()
    for name in ('objects', 'positives', 'negatives', 'neither'):
        assert float(counted[name]) == pytest.approx(totals[name] / 3, abs=0.051), name
    assert totals['neither'] > totals['positives'] > 0
