import contextlib
import io
import json
import re

import as_coco
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import DATASETS, METRICS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.logging import MMLogger
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_nrpn.evaluation import GroundTruth

CLASSES = ('cat', 'dog', 'cow')
RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)
RECALLS = (0.5, 0.8, 0.9)


def random_image(rng, scores=None):
    """Boxes (x1, y1, x2, y2, class) of objects, ignored ones and detections; whole numbers, so that IoUs tie, too."""

    def boxes(num):
        corner = rng.integers(0, 100, (num, 2))
        return np.hstack([corner, corner + rng.integers(1, 60, (num, 2)), rng.integers(0, 3, (num, 1))]).astype(float)

    objects, ignored = (boxes(rng.integers(0, most)) * (rng.random() < 0.6) for most in (6, 3))
    objects, ignored = (group[group[:, 2] > 0] for group in (objects, ignored))  # some images have none
    around = np.concatenate([objects, objects, ignored, boxes(3)])
    detections = around[rng.integers(0, len(around), rng.integers(1, 25))]
    detections[:, :4] += rng.integers(-6, 7, (len(detections), 4))
    detections[:, 2:4] = np.maximum(detections[:, 2:4], detections[:, :2])
    scores = rng.integers(1, 12, len(detections)) / 12 if scores is None else scores(len(detections))
    return objects, ignored, detections, scores.astype(np.float32)


def evaluate(images, **kwargs):
    metric = METRICS.build(dict(type='FROCMetric', **kwargs))
    metric.dataset_meta = dict(classes=CLASSES)
    for *groups, scores in images:
        parts = [dict(bboxes=torch.tensor(rows[:, :4]), labels=torch.tensor(rows[:, 4]).long()) for rows in groups]
        sample = dict(zip(('gt_instances', 'ignored_instances', 'pred_instances'), parts))
        sample['pred_instances']['scores'] = torch.tensor(scores)
        metric.process(None, [sample])
    return {key.removeprefix('froc/'): value for key, value in metric.evaluate(len(images)).items()}


def marks_of_cocoeval(images, thr):
    """(score, found, counts, image, class) of detections, and (counts, image, class) of objects; crowds are ignored."""
    annotations, results = [], []
    for number, (objects, ignored, detections, scores) in enumerate(images):
        for crowd, rows in ((0, objects), (1, ignored)):
            for x1, y1, x2, y2, label in rows.tolist():
                box = dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), iscrowd=crowd)
                annotations.append(dict(box, id=len(annotations) + 1, image_id=number, category_id=label))
        for (x1, y1, x2, y2, label), score in zip(detections.tolist(), scores.tolist()):
            results.append(dict(image_id=number, category_id=label, bbox=[x1, y1, x2 - x1, y2 - y1], score=score))
    coco = COCO()
    categories, numbers = [dict(id=i) for i in range(3)], [dict(id=i) for i in range(len(images))]
    coco.dataset = dict(images=numbers, annotations=annotations, categories=categories)
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(results), 'bbox')
        evaluator.params.iouThrs, evaluator.params.maxDets = np.array([thr]), [10**4]
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluator.evaluate()
    found, objects = [], []
    for of_image in filter(None, evaluator.evalImgs):
        place = of_image['image_id'], of_image['category_id']
        matched = zip(of_image['dtScores'], of_image['dtMatches'][0] > 0, ~of_image['dtIgnore'][0].astype(bool))
        found += [(*mark, *place) for mark in matched]
        objects += [(not ignore, *place) for ignore in of_image['gtIgnore']]
    return found, objects


def froc_by_loops(found, objects, num_images, label=None):
    if label is not None:
        found, objects = ([mark for mark in marks if mark[-1] == label] for marks in (found, objects))
    num = sum(counts for counts, *_ in objects)
    points = []
    for threshold in {np.inf, *(mark[0] for mark in found)}:
        taken = [hit for score, hit, counts, *_ in found if score >= threshold and counts]
        points.append((threshold, sum(taken) / num if num else np.nan, taken.count(False) / num_images))

    def recall_at(rate):
        return max(recall for _, recall, fppi in points if fppi <= rate)

    result = {f'recall@{rate:g}': recall_at(rate) for rate in RATES}
    result['mean_recall'] = sum(result.values()) / 7
    result['LAMR'] = np.prod([max(1 - recall_at(10 ** (i / 4 - 2)), 1e-10) for i in range(9)]) ** (1 / 9)
    empty = {*range(num_images)} - {image for _, image, _ in objects}
    for value in RECALLS:
        threshold, fppi = max(((t, fppi) for t, recall, fppi in points if recall >= value), default=(np.nan, np.nan))
        fired = {image for score, _, _, image, _ in found if score >= threshold} & empty
        result[f'FPPI@{value}'] = fppi
        result[f'image_FPR@{value}'] = len(fired) / len(empty) if empty and threshold == threshold else np.nan
    return result


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([0.3, 0.5, 0.75, 1]))
def test_equals_a_loop_over_what_cocoeval_matches(seed, num, thr):
    rng = np.random.default_rng(seed)
    images = [random_image(rng) for _ in range(num)]
    marks = marks_of_cocoeval(images, thr)
    expected = froc_by_loops(*marks, num)
    for label, name in enumerate(CLASSES):
        of_class = froc_by_loops(*marks, num, label)
        expected.update({f'{name}_{key}': value for key, value in of_class.items()})
    assert evaluate(images, iou_thrs=thr, classwise=True) == pytest.approx(expected, nan_ok=True)
    assert all(0 <= value <= 1 for key, value in expected.items() if 'FPPI' not in key and value == value)
    alone = evaluate(images, iou_thrs=thr)
    both = evaluate(images, iou_thrs=[0.6, thr])
    assert {key: both[f'{key}@IoU{thr:g}'] for key in alone} == pytest.approx(alone, nan_ok=True)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_without_classes_it_equals_the_loop_over_one_class(seed):
    rng = np.random.default_rng(seed)
    images = [random_image(rng) for _ in range(4)]
    merged = [(*(rows * [1, 1, 1, 1, 0] for rows in groups), scores) for *groups, scores in images]
    expected = froc_by_loops(*marks_of_cocoeval(merged, 0.5), 4)
    assert evaluate(images, class_agnostic=True) == pytest.approx(expected, nan_ok=True)
    assert evaluate(merged) == pytest.approx(expected, nan_ok=True)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([8, 16]))
def test_equals_luna16_where_each_rate_is_a_point_of_the_curve(seed, num):
    """LUNA16, and MONAI's compute_froc_score, interpolate between points of the curve: here, nothing is between."""
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(1000) / 1000)  # no ties
    images = [random_image(rng, lambda n: np.array([next(scores) for _ in range(n)])) for _ in range(num)]
    found, objects = marks_of_cocoeval(images, 0.5)
    hits = np.array([hit for _, hit, counts, *_ in sorted(found, reverse=True) if counts])
    sensitivity = np.append(0, hits.cumsum()) / max(sum(counts for counts, *_ in objects), 1)
    expected = np.interp(RATES, np.append(0, (~hits).cumsum()) / num, sensitivity)
    metrics = evaluate(images)
    if metrics['mean_recall'] == metrics['mean_recall']:  # there are objects
        assert [metrics[f'recall@{rate:g}'] for rate in RATES] == pytest.approx([*expected])
        assert metrics['mean_recall'] == pytest.approx(expected.mean())


def image(objects=(), detections=(), ignored=()):
    """Boxes of 10x10 at given places; detections are (place, score)."""

    def rows(places):
        return np.array([[x, 0, x + 10, 10, 0] for x in places], dtype=float).reshape(-1, 5)

    scores = np.array([score for _, score in detections], dtype=np.float32)
    return rows(objects), rows(ignored), rows([place for place, _ in detections]), scores


def test_a_curve_drawn_by_hand():
    """Ten objects, four images; from the highest score: 2 found, 1 false, 6 found, 2 false at once, 2 ignored."""
    places = [20 * i for i in range(10)]
    found = [(place, score) for place, score in zip(places, [0.9, 0.9, *[0.7] * 6])]
    images = [
        image(places, found),
        image([], [(0, 0.8), (50, 0.6)]),
        image([], [(0, 0.6)]),
        image([], [(0, 0.99), (0, 0.99)], ignored=[0]),
    ]
    metrics = evaluate(images)
    assert [metrics[f'recall@{rate:g}'] for rate in RATES] == pytest.approx([0.2, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8])
    assert metrics['mean_recall'] == pytest.approx((0.2 + 6 * 0.8) / 7)
    # 0.01, 0.018, 0.032, 0.056, 0.1, 0.18 are below one false detection in four images; 0.32, 0.56, 1 are not
    assert metrics['LAMR'] == pytest.approx((0.8**6 * 0.2**3) ** (1 / 9))
    assert [metrics[f'FPPI@{value}'] for value in (0.5, 0.8)] == [0.25, 0.25]
    assert [metrics[f'image_FPR@{value}'] for value in (0.5, 0.8)] == [0.5, 0.5]  # of two: one has ignored objects
    assert np.isnan([metrics['FPPI@0.9'], metrics['image_FPR@0.9']]).all()


@pytest.mark.parametrize(
    'images, expected',
    [
        ([image([0], [(0, 0.9)])], dict(mean_recall=1, LAMR=1e-10, **{'FPPI@0.5': 0, 'image_FPR@0.8': np.nan})),
        ([image([0]), image()], dict(mean_recall=0, LAMR=1, **{'FPPI@0.5': np.nan, 'image_FPR@0.8': np.nan})),
        ([image([], [(0, 0.9)])], dict(mean_recall=np.nan, LAMR=np.nan, **{'FPPI@0.5': np.nan})),
        ([image([0], [(0, -np.inf), (0, np.nan)]), image()], {'mean_recall': 0, 'image_FPR@0.8': np.nan}),
        ([image([0], [(0, 0.5), (50, 0.5)]), image()], {'recall@0.25': 0, 'recall@0.5': 1, 'image_FPR@0.8': 0}),
    ],
    ids=['perfect', 'nothing detected', 'no object', 'no score', 'a tie'],
)
def test_ends_of_the_scale(images, expected):
    metrics = evaluate(images)
    assert {key: metrics[key] for key in expected} == pytest.approx(expected, nan_ok=True)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_order_does_not_matter_and_an_empty_image_thins_false_detections_out(seed):
    rng = np.random.default_rng(seed)
    images = [random_image(rng, lambda n: rng.permutation(n) / n) for _ in range(4)]  # ties between images alone
    expected = evaluate(images, classwise=True)
    shuffled = []
    for i in rng.permutation(4):
        objects, ignored, detections, scores = images[i]
        order = rng.permutation(len(scores))
        shuffled.append((rng.permutation(objects), rng.permutation(ignored), detections[order], scores[order]))
    assert evaluate(shuffled, classwise=True) == pytest.approx(expected, nan_ok=True)
    rarer = evaluate([*images, *[image()] * 4], classwise=True)
    for name in ('', *(f'{name}_' for name in CLASSES)):
        for rate, higher in zip(RATES, RATES[1:]):
            assert rarer[f'{name}recall@{rate:g}'] == pytest.approx(expected[f'{name}recall@{higher:g}'], nan_ok=True)
        for value in (0.5, 0.8, 0.9):
            assert rarer[f'{name}FPPI@{value}'] == pytest.approx(expected[f'{name}FPPI@{value}'] / 2, nan_ok=True)


def predicted(num):
    return dict(bboxes=torch.zeros(num, 4), scores=torch.rand(num), labels=torch.zeros(num, dtype=torch.long))


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('format', ['voc', 'coco'])
def test_labels_are_the_data_sets_and_have_its_names(repo, shapes, format, wrapped):
    """COCO's labels are in the file's order, whatever the order of classes. Only discs are detected."""
    if format == 'coco':
        as_coco.as_coco(shapes, 'val')
        cfg = dict(type='CocoDataset', ann_file='annotations/val.json', data_prefix=dict(img='val/'), test_mode=True)
        cfg.update(data_root=f'{shapes}/', metainfo=dict(classes=('triangle', 'disc')))
    else:
        cfg = Config.fromfile(repo / 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py').val_dataloader.dataset.to_dict()
        cfg.update(data_root=f'{shapes}/')
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[cfg]) if wrapped else cfg)
    metric = METRICS.build(dict(type='FROCMetric', classwise=True))
    metric.dataset_meta, metric.ground_truth = dataset.metainfo, GroundTruth(dataset)
    num = 0
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        boxes = [o['bbox'] for o in info['instances'] if o['bbox_label'] == 0 and not o['ignore_flag']]
        num += len(boxes)
        found = dict(predicted(len(boxes)), bboxes=HorizontalBoxes(torch.tensor(boxes).reshape(-1, 4)))
        metric.process(None, [dict(img_id=info['img_id'], img_path=info['img_path'], pred_instances=found)])
    metrics = metric.evaluate(len(dataset))
    assert num > 0 and metrics['froc/disc_mean_recall'] == 1 and metrics['froc/triangle_mean_recall'] == 0
    assert 0 < metrics['froc/mean_recall'] < 1 and metrics['froc/disc_FPPI@0.8'] == 0
    assert ('froc/square_LAMR' in metrics) == (format == 'voc')


@pytest.fixture
def logged(caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    yield caplog
    MMLogger.get_current_instance().removeHandler(caplog.handler)


def test_boxes_are_not_kept_and_a_figure_is_drawn(tmp_path, logged):
    path = tmp_path / 'new' / 'froc.png'
    rng = np.random.default_rng(0)
    metrics = evaluate([random_image(rng) for _ in range(5)], iou_thrs=(0.5, 0.75), out_file=str(path))
    assert path.read_bytes().startswith(b'\x89PNG') and json.dumps(metrics)
    assert 'IoU 0.75' in logged.text and f'{metrics["LAMR@IoU0.75"]:.3f}' in logged.text
    metric = METRICS.build(dict(type='FROCMetric'))
    metric.process(None, [dict(gt_instances=dict(bboxes=torch.zeros(0, 4)), pred_instances=predicted(7))])
    (kept,) = metric.results
    assert sum(np.size(value) for value in kept.values()) == 3 * 7


def test_an_rpn_that_is_measured_by_class_is_told(logged):
    (objects, *rest) = image([0], [(0, 0.9)])
    metrics = evaluate([(objects + [0, 0, 0, 0, 2], *rest)])
    assert metrics['mean_recall'] == 0 and 'for an RPN, set class_agnostic=True' in logged.text


@pytest.mark.parametrize('key', ['scores', 'labels', 'bboxes'])
def test_predictions_without_scores_are_refused(key):
    sample = dict(gt_instances=dict(bboxes=torch.zeros(0, 4)), pred_instances=predicted(2))
    del sample['pred_instances'][key]
    with pytest.raises(ValueError, match=f'FROCMetric: pred_instances must have {key}, got '):
        METRICS.build(dict(type='FROCMetric')).process(None, [sample])


def test_objects_without_labels_are_refused_but_by_a_metric_that_leaves_classes_out():
    sample = dict(gt_instances=dict(bboxes=torch.ones(2, 4)), pred_instances=predicted(2))
    with pytest.raises(ValueError, match=r'objects must have labels; without, set class_agnostic=True, got \[-1, -1\]'):
        METRICS.build(dict(type='FROCMetric')).process(None, [sample])
    METRICS.build(dict(type='FROCMetric', class_agnostic=True)).process(None, [sample])


def test_samples_without_ground_truth_are_refused():
    with pytest.raises(ValueError, match=r"FROCMetric: .*no ground truth .*put dict\(type='LoadAnnotations'"):
        METRICS.build(dict(type='FROCMetric')).process(None, [dict(pred_instances=predicted(2))])
    with pytest.raises(ValueError, match='FROCMetric: no image was evaluated; check ann_file'):
        METRICS.build(dict(type='FROCMetric')).evaluate(0)


@pytest.mark.parametrize(
    'key, value',
    [
        ('iou_thrs', 0), ('iou_thrs', ()), ('iou_thrs', [0.5, '0.7']), ('iou_thrs', [0.5, 80]), ('iou_thrs', None),
        ('out_file', 'froc'), ('out_file', 'froc.json'), ('out_file', 5), ('collect_device', 'cuda'), ('prefix', 5),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_when_built(key, value):
    wrong = value[-1] if isinstance(value, list) and value else value
    with pytest.raises(ValueError, match=f'FROCMetric: {key} must .*, got ({key}=)?{re.escape(repr(wrong))}$'):
        METRICS.build(dict(type='FROCMetric', **{key: value}))
    with pytest.raises(ValueError, match='classwise must be False with class_agnostic=True, got True'):
        METRICS.build(dict(type='FROCMetric', classwise=True, class_agnostic=True))
