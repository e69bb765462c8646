import copy
from unittest import mock

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import LoadProposals
from mmdet.models.roi_heads import HybridTaskCascadeRoIHead
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.structures import InstanceData
from small_detector import inputs, smaller

from mmdet_nrpn import ObjectnessMixin
from mmdet_nrpn.models.roi_heads.objectness_roi_head import join_objectness

CONFIGS = dict(
    faster='faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    mask='mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    cascade='cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    cascade_mask='cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    htc='htc/htc-without-semantic_r50_fpn_1x_coco.py',
)
NUM_CLASSES = 10  # of the images
SIGMOID = dict(type='CrossEntropyCustomLoss', use_sigmoid=True, num_classes=NUM_CLASSES)
SEESAW = dict(type='SeesawLoss', num_classes=NUM_CLASSES)
SMALL_MASKS = dict(conv_out_channels=8)
ABSENT = 'absent'


@MODELS.register_module()
class ObjectnessHTCRoIHead(ObjectnessMixin, HybridTaskCascadeRoIHead):
    """Of MMDetection, for a head of one's own: it hands further arguments on to ``predict_bbox``."""


TYPES = dict(
    StandardRoIHead='ObjectnessRoIHead',
    CascadeRoIHead='ObjectnessCascadeRoIHead',
    HybridTaskCascadeRoIHead='ObjectnessHTCRoIHead',
)


def make_cfg(name, weight=None, **bbox_head):
    """MMDetection's own with ``weight=None``."""
    cfg = smaller(get_config(f'mmdet::{CONFIGS[name]}').model)
    for heads, changes in ((cfg.roi_head.bbox_head, bbox_head), (cfg.roi_head.get('mask_head', []), SMALL_MASKS)):
        for head in heads if isinstance(heads, list) else [heads]:
            head.update(num_classes=NUM_CLASSES, **changes)
    cfg.test_cfg.rpn.max_per_img = 60
    if weight is not None:
        cfg.roi_head.type = TYPES[cfg.roi_head.type]
        cfg.test_cfg.rcnn.update({} if weight is ABSENT else dict(objectness_weight=weight))
    return cfg


def make(*args, **bbox_head):
    """A detector with random weights, whose scores are of all sizes."""
    torch.manual_seed(0)
    model = MODELS.build(make_cfg(*args, **bbox_head))
    model.init_weights()
    for key, value in model.named_parameters():
        if key.endswith(('rpn_cls.weight', 'fc_cls.weight', 'fc_reg.weight')):
            torch.nn.init.normal_(value, std=0.1 if 'reg' in key else 0.7)
    return model.eval()


@torch.no_grad()
def predict(model, batch=None):
    return [
        sample.pred_instances
        for sample in model(**copy.deepcopy(batch or inputs(model, model.with_mask)), mode='predict')
    ]


@torch.no_grad()
def propose(model):
    """Features, proposals and data samples of two images."""
    data = inputs(model, model.with_mask)
    x = model.extract_feat(data['inputs'])
    return x, model.rpn_head.predict(x, data['data_samples'], rescale=False), data['data_samples']


def assert_same(results, expected):
    assert len(results) == len(expected)
    for got, wanted in zip(results, expected):
        assert set(got.keys()) == set(wanted.keys())
        for key, value in wanted.items():
            assert got[key].dtype == value.dtype and torch.equal(got[key], value), key


@pytest.mark.parametrize('name', [*CONFIGS][:4])
def test_weight_0_is_the_stock_head(name):
    """Detections, losses and weights bit for bit, the latter in both directions."""
    stock, ours = make(name), make(name, 0)
    ours.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(ours.state_dict(), strict=True)
    expected = predict(stock)
    assert all(len(result) > 3 for result in expected)
    assert_same(predict(ours), expected)
    losses = []
    for model in (stock, ours):
        torch.manual_seed(0)
        losses.append(model.train().parse_losses(model(**inputs(model, model.with_mask), mode='loss'))[1])
    assert all(torch.equal(value, losses[1].pop(key)) for key, value in losses[0].items()) and not losses[1]


def probabilities(logits, loss_cls):
    """In float64, of the classes alone."""
    logits = logits.double().numpy()
    if 'Seesaw' in type(loss_cls).__name__:
        classes, objects = np.exp(logits[:-2]), np.exp(logits[-2:])
        return classes / classes.sum() * objects[0] / objects.sum()
    if loss_cls.use_sigmoid:
        return 1 / (1 + np.exp(-logits))
    return (np.exp(logits) / np.exp(logits).sum())[:-1]


def decode(roi, delta, meta, stds):
    """A box in pixels of the original image, clipped to the image that the network saw."""
    x1, y1, x2, y2 = roi.double().tolist()
    dx, dy, dw, dh = (float(value) * std for value, std in zip(delta, stds))
    x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
    most = abs(np.log(16 / 1000))
    w, h = ((end - start) * np.exp(np.clip(d, -most, most)) for start, end, d in ((x1, x2, dw), (y1, y2, dh)))
    height, width = meta['img_shape']
    box = np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, [width, height, width, height])
    return box / np.tile(meta['scale_factor'], 2)


def iou(a, b):
    w, h = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    shared = max(w, 0) * max(h, 0)
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / max(sum(areas) - shared, 1e-12)


def joined(probability, objectness, weight):
    p, o = np.clip([probability, objectness], [0, 2**-23], [1 - 2**-23, 1 - 2**-12])
    odds = p / (1 - p) * (o / (1 - o)) ** weight
    return odds / (1 + odds)


def oracle(head, rois, cls_scores, bbox_preds, batch_img_metas, objectness, weight, cfg):
    """Loops over images, proposals and classes, and a greedy NMS of its own, from the last layers' outputs on."""
    for roi, logits, deltas, meta, rpn in zip(rois, cls_scores, bbox_preds, batch_img_metas, objectness):
        found = []
        for row in range(len(roi)):
            of_classes = probabilities(logits[row], head.loss_cls)
            for label, probability in enumerate(of_classes):
                delta = deltas[row] if head.reg_class_agnostic else deltas[row][4 * label : 4 * label + 4]
                score = joined(probability, float(rpn[row]), weight)
                if score > cfg.score_thr:
                    found.append((score, label, decode(roi[row, 1:], delta, meta, head.bbox_coder.stds)))
        kept = []
        for score, label, box in sorted(found, key=lambda of_one: -of_one[0]):
            if all(label != other or iou(box, taken) <= cfg.nms.iou_threshold for _, other, taken in kept):
                kept.append((score, label, box))
        yield kept[: cfg.max_per_img]


@pytest.mark.parametrize('weight', [0.25, ABSENT, 1.0])
@pytest.mark.parametrize(
    'name, bbox_head',
    [
        ('faster', {}),
        ('faster', dict(reg_class_agnostic=True)),
        ('faster', dict(loss_cls=SEESAW)),
        ('faster', dict(loss_cls=SIGMOID)),
        ('mask', {}),
        ('cascade', {}),
        ('cascade_mask', {}),
    ],
    ids=str,
)
def test_equals_loops_in_float64(name, bbox_head, weight):
    model, stock = make(name, weight, **bbox_head), make(name, **bbox_head)
    last = model.roi_head.bbox_head
    last = last[-1] if isinstance(last, torch.nn.ModuleList) else last
    with mock.patch.object(last, 'predict_by_feat', wraps=last.predict_by_feat) as seen:
        results = predict(model)
    outputs = {key: seen.call_args.kwargs[key] for key in ('rois', 'cls_scores', 'bbox_preds', 'batch_img_metas')}
    objectness = [proposals.scores for proposals in propose(model)[1]]
    number = 0.5 if weight is ABSENT else weight
    expected = oracle(last, **outputs, objectness=objectness, weight=number, cfg=model.test_cfg.rcnn)
    for result, wanted in zip(results, expected):
        assert len(result) == len(wanted) > 3
        assert result.labels.tolist() == [label for _, label, _ in wanted]
        np.testing.assert_allclose(result.scores, [score for score, _, _ in wanted], rtol=1e-4)
        np.testing.assert_allclose(result.bboxes, [box for _, _, box in wanted], atol=1e-2)
        if model.with_mask:
            assert len(result.masks) == len(result)
    assert any(len(a) != len(b) or not torch.equal(a.scores, b.scores) for a, b in zip(results, predict(stock)))


def test_an_image_s_detections_do_not_depend_on_the_others():
    """Also beside one without proposals, and with as few of them as one."""
    model = make('faster', 0.5)
    x, (first, second), samples = propose(model)
    images = [(0, first), (1, second[:0]), (1, second), (0, first[:1])]
    together = model.roi_head.predict(
        tuple(level[[number for number, _ in images]] for level in x),
        [proposals for _, proposals in images], [samples[number] for number, _ in images], rescale=True,
    )  # fmt: skip
    for (number, proposals), result in zip(images, together):
        (alone,) = model.roi_head.predict(
            tuple(level[[number]] for level in x), [proposals], [samples[number]], rescale=True
        )
        assert len(alone) == len(result) and (len(result) > 0) is (len(proposals) > 0)
        for key, value in alone.items():
            torch.testing.assert_close(result[key], value)


@pytest.mark.parametrize('name', CONFIGS)
def test_images_without_proposals_have_the_stock_head_s_empty_results(name):
    results = []
    for weight in (None, 1.0):
        model = make(name, weight)
        x, proposals, samples = propose(model)
        results.append(model.roi_head.predict(x, [found[:0] for found in proposals], samples, rescale=True))
    for got, wanted in zip(*results):
        assert {key: (value.shape, value.dtype) for key, value in got.items()} == {
            key: (value.shape, value.dtype) for key, value in wanted.items()
        }


def test_views_of_test_time_augmentation_are_scored_so():
    """DetTTAModel merges each view's detections by NMS."""
    boxes = {}
    for weight in (None, 0, 1.0):
        model = make('faster', weight)
        tta = MODELS.build(
            dict(
                type='DetTTAModel',
                module=model,
                tta_cfg=ConfigDict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
            )
        )
        views = [demo_mm_inputs(1, [[3, 96, 128]]) for _ in range(2)]
        views[1]['inputs'] = [image.flip(-1) for image in views[1]['inputs']]
        views[1]['data_samples'][0].set_metainfo(dict(flip=True, flip_direction='horizontal'))
        data = {key: [view[key] for view in views] for key in views[0]}
        boxes[weight] = [sample.pred_instances for sample in tta.test_step(copy.deepcopy(data))]
        if weight == 1.0:
            singles = torch.cat([model.test_step(view)[0].pred_instances.scores for view in views])
    assert_same(boxes[0], boxes[None])
    assert torch.isin(boxes[1.0][0].scores, singles).all() and boxes[1.0][0].scores.max() == singles.max()


@pytest.mark.parametrize('weight', [0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize('dtypes', [(torch.float16,) * 2, (torch.float32, torch.float16), (torch.float32,) * 2])
def test_joins_in_float32_at_least(dtypes, weight):
    torch.manual_seed(0)
    scores, objectness = torch.rand(200, 4).to(dtypes[0]), torch.rand(200).to(dtypes[1])
    found = join_objectness(scores, objectness, weight)
    p, o = scores.double(), objectness.double()[:, None]
    exact = [
        [joined(*pair, weight) for pair in zip(row, given)] for row, given in zip(p.tolist(), o.expand(-1, 4).tolist())
    ]
    assert found.dtype == dtypes[0]
    tolerance = 20 * torch.finfo(dtypes[0]).eps
    torch.testing.assert_close(found, torch.tensor(exact).to(dtypes[0]), rtol=tolerance, atol=tolerance)
    unsure = join_objectness(scores, torch.full((200,), 0.5), weight)
    torch.testing.assert_close(unsure, scores, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('weight', [0.25, 1.0])
def test_a_score_rises_with_the_objectness_and_stays_a_probability(weight):
    scores, objectness = torch.tensor([[0.0, 0.3, 1.0]]).expand(5, 3), torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0])
    found = join_objectness(scores, objectness, weight)
    assert found.isfinite().all() and (found >= 0).all() and (found <= 1).all()
    assert (found.diff(dim=0)[:, 1] > 0).all() and (found[:, 0] == 0).all()


@pytest.mark.parametrize('weight', [0.5, 1.0])
def test_a_sure_rpn_makes_no_detection_of_a_class_that_is_not_there(weight):
    """Nor does one in half precision, whose sigmoid is 1 from a logit of 9 on."""
    scores, logits = torch.tensor([1e-12, 1e-9, 1e-5]), torch.linspace(-20, 20, 81)
    exact, half = (
        join_objectness(scores.expand(81, 3), o, weight) for o in (logits.sigmoid(), logits.half().sigmoid())
    )
    assert (exact[:, :2] < 1e-5).all() and (exact <= 0.05).all()
    torch.testing.assert_close(half.float().logit(), exact.logit(), atol=0.5, rtol=0)


@pytest.mark.parametrize('weight', [-0.5, '1', None, True, float('nan'), float('inf')])
@pytest.mark.parametrize('name', ['faster', 'cascade'])
def test_refuses_a_weight_that_is_none(name, weight):
    cfg = make_cfg(name, 1.0)
    cfg.test_cfg.rcnn.objectness_weight = weight
    with pytest.raises(ValueError, match='model.test_cfg.rcnn: objectness_weight must be a number >= 0, got .*weight='):
        MODELS.build(cfg)


def of_file(proposals, with_scores=True):
    """As MMDetection loads proposals, with scores of 0 if a file has none."""
    given = {key: proposals[key].numpy() for key in ('bboxes', 'scores')[: 1 + with_scores]}
    loaded = LoadProposals().transform(dict(proposals=given))
    return InstanceData(bboxes=torch.tensor(loaded['proposals']), scores=torch.tensor(loaded['proposals_scores']))


PROPOSALS = dict(
    all=(of_file, None),
    scoreless_file=(lambda found: of_file(found, with_scores=False), 'where the file has none; got 0 to 0'),
    scoreless=(lambda found: InstanceData(bboxes=found.bboxes), 'have no scores'),
    logits=(lambda found: InstanceData(bboxes=found.bboxes, scores=found.scores.logit()), r'must be .* in \[0, 1\]'),
)


@pytest.mark.parametrize('kind', PROPOSALS)
def test_given_proposals_need_an_objectness(kind):
    change, error = PROPOSALS[kind]
    with_rpn = make('faster', 1.0)
    cfg = make_cfg('faster', 1.0)
    cfg.rpn_head = None
    model = MODELS.build(cfg).eval()
    weights = {key: value for key, value in with_rpn.state_dict().items() if not key.startswith('rpn_head')}
    model.load_state_dict(weights, strict=True)
    batch = inputs(model)
    for sample, found in zip(batch['data_samples'], propose(with_rpn)[1]):
        sample.proposals = change(found)
    if error is None:
        for got, wanted in zip(predict(model, batch), predict(with_rpn)):
            for key, value in wanted.items():
                torch.testing.assert_close(got[key], value)
    else:
        with pytest.raises(ValueError, match=f'{error}.*write model.test_cfg.rcnn.objectness_weight=0'):
            predict(model, batch)
    model.roi_head.test_cfg.objectness_weight = 0
    assert_same(predict(model, batch), predict(make('faster')))


def test_an_rpn_may_say_that_there_is_nothing():
    """Its scores may all be 0, in half precision: no error, but no detections."""
    model = make('faster', 0.5)
    x, proposals, samples = propose(model)
    for found in proposals:
        found.scores = torch.zeros_like(found.scores)
    assert [len(found) for found in model.roi_head.predict(x, proposals, samples)] == [0, 0]
