import contextlib
import io
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import MMLogger
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_nrpn import ProposalMetric

NUMS = (1, 10, 50)
AREAS = {'': 'all', '_s': 'small', '_m': 'medium', '_l': 'large'}


def random_image(rng, max_proposals=60):
    """Objects, ignored objects and proposals around them; whole numbers, so that scores and IoUs tie."""

    def boxes(num):
        corner = rng.integers(0, 200, (num, 2))
        return np.concatenate([corner, corner + rng.integers(0, 150, (num, 2))], axis=1).astype(np.float32)

    gts, ignored = boxes(rng.integers(0, 6)), boxes(rng.integers(0, 3))
    around = np.concatenate([gts, ignored, boxes(3)])
    proposals = around[rng.integers(0, len(around), rng.integers(0, max_proposals))]
    proposals = proposals + rng.integers(-8, 9, proposals.shape)
    proposals[:, 2:] = np.maximum(proposals[:, 2:], proposals[:, :2])
    if len(proposals) > 4:
        proposals[2] = proposals[3]  # a duplicate
    scores = rng.integers(0, 12, len(proposals)) / 12
    return gts, ignored, proposals.astype(np.float32), scores.astype(np.float32)


def fractional_image(rng, max_proposals=60):
    """Like annotations with two decimals, as COCO has them; many objects of exactly 32x32 or 96x96 pixels."""

    def boxes(num):
        corner = rng.uniform(0, 400, (num, 2)).round(2)
        sides = np.where(rng.random((num, 1)) < 0.6, rng.choice([32, 96], (num, 1)), rng.uniform(1, 150, (num, 2)))
        return np.hstack([corner, corner + sides.round(2)]).astype(np.float32)

    gts, ignored = boxes(rng.integers(0, 8)), boxes(rng.integers(0, 3))
    around = np.concatenate([gts, ignored, boxes(3)])
    proposals = around[rng.integers(0, len(around), rng.integers(0, max_proposals))]
    proposals[:, :2] -= rng.uniform(0, 12, (len(proposals), 2))
    proposals[:, 2:] += rng.uniform(0, 12, (len(proposals), 2))
    return gts, ignored, proposals.astype(np.float32), rng.random(len(proposals)).astype(np.float32)


def evaluate(images, proposal_nums=NUMS, **kwargs):
    metric = ProposalMetric(proposal_nums=proposal_nums, **kwargs)
    for gts, ignored, proposals, scores in images:
        sample = dict(
            gt_instances=dict(bboxes=torch.tensor(gts)),
            ignored_instances=dict(bboxes=torch.tensor(ignored)),
            pred_instances=dict(bboxes=torch.tensor(proposals), scores=torch.tensor(scores)),
        )
        metric.process(None, [sample])
    return metric.evaluate(len(images))


def coco_recall(images, proposal_nums=NUMS):
    """(T, areas, budgets) by COCOeval; ignored objects are crowds."""
    annotations, results = [], []
    for image_id, (gts, ignored, proposals, scores) in enumerate(images, 1):
        for crowd, boxes in ((0, gts), (1, ignored)):
            for x1, y1, x2, y2 in boxes.astype(float).tolist():
                # as an annotation file states them; no finer than hundredths of a pixel here
                box = np.round([x1, y1, x2 - x1, y2 - y1], 2).tolist()
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=image_id,
                        category_id=1,
                        bbox=box,
                        area=box[2] * box[3],
                        iscrowd=crowd,
                    )
                )
        for (x1, y1, x2, y2), score in zip(proposals.astype(float).tolist(), scores.tolist()):
            results.append(dict(image_id=image_id, category_id=1, bbox=[x1, y1, x2 - x1, y2 - y1], score=score))
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=i + 1) for i in range(len(images))], annotations=annotations, categories=[dict(id=1)]
    )
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        if not results:
            return np.full((10, 4, len(NUMS)), -1.0) * (not annotations) if not annotations else None
        evaluator = COCOeval(coco, coco.loadRes(results), 'bbox')
        evaluator.params.useCats = 0
        evaluator.params.maxDets = list(proposal_nums)
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval['recall'][:, 0]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 8), st.sampled_from([random_image, fractional_image]))
def test_average_recall_equals_cocoeval(seed, num_images, random_image):
    rng = np.random.default_rng(seed)
    images = [random_image(rng) for _ in range(num_images)]
    expected = coco_recall(images)
    if expected is None:
        return  # COCOeval cannot take an empty set of results
    metrics = evaluate(images, iou_thrs=(0.5, 0.75))
    for area, suffix in enumerate(AREAS):
        for column, num in enumerate(NUMS):
            assert metrics[f'proposal/AR{suffix}@{num}'] == pytest.approx(expected[:, area, column].mean(), abs=1e-6)
    for row, thr in ((0, 0.5), (5, 0.75)):
        for column, num in enumerate(NUMS):
            assert metrics[f'proposal/recall@{num}@{thr}'] == pytest.approx(expected[row, 0, column], abs=1e-6)


def test_average_recall_of_a_trained_rpn_equals_cocoeval(repo):
    """Eight validation images of the demo, with the 1000 proposals of its stock RPN after 500 steps, seed 0, in half
    precision to be small."""
    data = np.load(repo / 'tests' / 'data' / 'shapes_proposals.npz')
    images = [
        [data[f'{key}{i}'].astype(np.float32) for key in ('gts', 'ignored', 'proposals', 'scores')] for i in range(8)
    ]
    assert sum(len(ignored) for _, ignored, _, _ in images) > 0
    nums = (10, 50, 100, 300, 1000)
    metrics, expected = evaluate(images, nums), coco_recall(images, nums)
    assert 0.3 < metrics['proposal/AR@100'] < 0.8  # trained, and not perfect
    for area, suffix in enumerate(AREAS):
        for column, num in enumerate(nums):
            assert metrics[f'proposal/AR{suffix}@{num}'] == pytest.approx(expected[:, area, column].mean(), abs=1e-6)


def image(gts, proposals, ignored=()):
    def boxes(rows):
        return np.array(rows, np.float32).reshape(-1, 4)

    scores = np.linspace(1, 0.5, len(proposals)).astype(np.float32)
    return boxes(gts), boxes(ignored), boxes(proposals), scores


def test_objects_of_images_without_proposals_count():
    box = [0, 0, 50, 50]
    metrics = evaluate([image([box], [box]), image([box], [])])
    assert metrics['proposal/AR@1'] == 0.5
    assert metrics['proposal/FP@1'] == 0  # of the one image that has proposals


def test_false_positives_are_a_share_of_the_budget():
    object_, far, other = [0, 0, 50, 50], [100, 100, 150, 150], [200, 0, 240, 50]
    # image 1: found, false; image 2: false, on an ignored object
    metrics = evaluate([image([object_], [object_, far]), image([object_], [far, other], ignored=[other])])
    assert metrics['proposal/FP@1'] == 0.5  # (0/1 + 1/1) / 2
    assert metrics['proposal/FP@10'] == 0.5  # (1/2 + 1/2) / 2: two proposals are all there are


def test_average_best_overlap_is_a_mean_over_objects():
    object_, half, other = [0, 0, 50, 50], [0, 0, 25, 50], [100, 100, 150, 150]
    # image 1: 0.5, then 1; image 2: two objects, none ever found
    metrics = evaluate([image([object_], [half, object_]), image([object_, other], [])])
    assert metrics['proposal/ABO@1'] == pytest.approx(0.5 / 3)
    assert metrics['proposal/ABO@10'] == pytest.approx(1 / 3)


def test_no_object_of_a_size_is_minus_one_as_in_cocoeval():
    metrics = evaluate([image([[0, 0, 50, 50]], [[0, 0, 50, 50]])])
    assert metrics['proposal/AR_m@1'] == 1 and metrics['proposal/AR_s@1'] == -1


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_recall_never_falls_with_the_budget_and_never_rises_with_the_threshold(seed):
    rng = np.random.default_rng(seed)
    metrics = evaluate([random_image(rng) for _ in range(3)], iou_thrs=(0.5, 0.7, 0.9))
    for thr in ('0.5', '0.7', '0.9'):
        row = [metrics[f'proposal/recall@{num}@{thr}'] for num in NUMS]
        assert row == sorted(row)
    for num in NUMS:
        assert (
            metrics[f'proposal/recall@{num}@0.5']
            >= metrics[f'proposal/recall@{num}@0.7']
            >= metrics[f'proposal/recall@{num}@0.9']
        )


def test_unsorted_scores_and_surplus_proposals():
    rng = np.random.default_rng(3)
    gts, ignored, proposals, scores = random_image(rng, 50)
    scores = rng.permutation(len(scores)).astype(np.float32)
    order = rng.permutation(len(scores))
    plain = evaluate([(gts, ignored, proposals, scores)])
    assert evaluate([(gts, ignored, proposals[order], scores[order])]) == plain


@pytest.mark.parametrize('score', [np.nan, -np.inf])
def test_a_score_that_is_none_is_no_proposal(score):
    gts, ignored, proposals, scores = random_image(np.random.default_rng(3), 50)
    more = [np.concatenate([gts, proposals]), np.append(np.full(len(gts), score, np.float32), scores)]
    assert evaluate([(gts, ignored, *more)]) == evaluate([(gts, ignored, proposals, scores)])


def test_curves_are_written_and_agree_with_the_metrics(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / 'new' / 'proposals.json'
    metrics = evaluate([random_image(rng) for _ in range(5)], out_file=str(path))
    curves = json.loads(path.read_text())
    recall, column = np.array(curves['recall']), curves['proposal_nums'].index(10)
    assert recall[:, 0, column].mean() == pytest.approx(metrics['proposal/AR@10'])
    assert curves['false_share'][column] == pytest.approx(metrics['proposal/FP@10'])
    assert curves['metrics'] == {key.removeprefix('proposal/'): value for key, value in metrics.items()}


def test_objects_of_32_pixels_at_fractional_places_are_small_and_medium():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 600, (200, 2)).round(2)
    gts = np.hstack([corner, corner + 32]).astype(np.float32)
    images = [image([gt], [gt] if found else []) for gt, found in zip(gts, [True, False] * 100)]
    metrics, expected = evaluate(images), coco_recall(images)
    for area, suffix in enumerate(AREAS):
        assert metrics[f'proposal/AR{suffix}@1'] == pytest.approx(expected[:, area, 0].mean())
    assert metrics['proposal/AR_s@1'] == metrics['proposal/AR_m@1'] == 0.5 and metrics['proposal/AR_l@1'] == -1


@pytest.mark.parametrize('ignored', [None, {}, dict(bboxes=torch.zeros(0, 4)), dict(bboxes=np.zeros((0, 4)))])
def test_without_ignored_boxes_nothing_is_ignored(ignored):
    box = torch.tensor([[0.0, 0, 50, 50]])
    sample = dict(gt_instances=dict(bboxes=box), pred_instances=dict(bboxes=box, scores=torch.ones(1)))
    if ignored is not None:
        sample['ignored_instances'] = ignored
    metric = ProposalMetric()
    metric.process(None, [sample])
    metrics = metric.evaluate(1)
    assert metrics['proposal/AR@10'] == 1 and metrics['proposal/FP@10'] == 0


@pytest.mark.parametrize('data_batch', [None, {}, dict(data_samples=[]), dict(inputs=[1])])
def test_what_the_samples_were_made_from_need_not_be_given(data_batch):
    """As in MMDetection's own tests of its metrics."""
    box = torch.tensor([[0.0, 0, 50, 50]])
    metric = ProposalMetric()
    instances = dict(gt_instances=dict(bboxes=box), pred_instances=dict(bboxes=box, scores=torch.ones(1)))
    metric.process(data_batch, [instances])
    assert metric.evaluate(1)['proposal/AR@10'] == 1


def test_an_evaluation_of_no_image_is_refused():
    with pytest.raises(ValueError, match='no image was evaluated; check ann_file, data_prefix'):
        ProposalMetric().evaluate(0)


def test_images_without_any_object_are_told(caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    metrics = evaluate([image([], [[0, 0, 50, 50]])])
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert metrics['proposal/AR@10'] == -1 and metrics['proposal/FP@10'] == 1
    assert 'no object in 1 images, so every recall is -1; check ann_file and metainfo.classes' in caplog.text


@pytest.mark.parametrize('nums', [100, 1e2, [100], np.array([100]), np.int64(100), (100, 100.0)])
@pytest.mark.parametrize('thrs', [0.5, [0.5], np.float32(0.5), (0.5, 0.5)])
def test_one_number_or_several_are_taken(nums, thrs):
    metrics = evaluate([image([[0, 0, 50, 50]], [[0, 0, 50, 50]])], proposal_nums=nums, iou_thrs=thrs)
    names = ['AR@100', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'recall@100@0.5', 'ABO@100', 'FP@100']
    assert list(metrics) == [f'proposal/{name}' for name in names]
    assert json.loads(json.dumps(metrics)) == metrics


@pytest.mark.parametrize(
    'key, value',
    [
        ('proposal_nums', ()), ('proposal_nums', 0), ('proposal_nums', [10, 2.5]), ('proposal_nums', '100'),
        ('proposal_nums', ['100']), ('proposal_nums', True), ('proposal_nums', None), ('proposal_nums', float('nan')),
        ('proposal_nums', float('inf')), ('proposal_nums', dict(n=1)), ('iou_thrs', (0.42,)), ('iou_thrs', '0.5'),
        ('iou_thrs', None), ('iou_thrs', float('nan')), ('fp_iou_thr', 0), ('fp_iou_thr', 1.5), ('fp_iou_thr', '0.3'),
        ('fp_iou_thr', [0.3]), ('fp_iou_thr', None), ('out_file', 7), ('out_file', '.'), ('out_file', __file__ + '/a'),
        ('collect_device', 'cuda'), ('prefix', 5),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_when_built(key, value):
    wrong = value[-1] if isinstance(value, (list, tuple)) and value and key != 'fp_iou_thr' else value
    with pytest.raises(ValueError, match=f'ProposalMetric: {key} must .*, got ({key}=)?{re.escape(repr(wrong))}$'):
        ProposalMetric(**{key: value})


def test_an_object_across_the_border_is_found_by_its_clipped_proposal():
    """An amodal box in an image of 128x128: what is left of it in the image is a proposal on the object."""
    sample = dict(
        ori_shape=(128, 128),
        gt_instances=dict(bboxes=torch.tensor([[-46.0, 8, 18, 72]])),
        ignored_instances=dict(bboxes=torch.tensor([[100.0, 8, 400, 72]])),
        pred_instances=dict(
            bboxes=torch.tensor([[0.0, 8, 18, 72], [100, 8, 128, 72]]), scores=torch.tensor([0.9, 0.8])
        ),
    )
    metric = ProposalMetric()
    metric.process(None, [sample])
    assert metric.evaluate(1)['proposal/FP@10'] == 0
