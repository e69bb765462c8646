import copy
import warnings

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_track_inputs
from mmengine.hub import get_config
from small_detector import inputs, smaller

FOCAL = dict(_delete_=True, type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
NRPN = dict(type='HardNegativeRPNHead')  # README's line
SAMPLED = dict(type='HardNegativeRPNHead', loss_rank=None)
METHODS = dict(
    nrpn=NRPN,
    focal=dict(type='HardNegativeRPNHead', loss_cls=FOCAL),
    sampled=SAMPLED,
    paper=dict(SAMPLED, nrpn_head=dict(type='PaperNRPNHead')),
)
DETECTORS = {
    'RPN': 'rpn/rpn_r50_fpn_1x_coco.py',
    'FasterRCNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'CascadeRCNN': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'MaskRCNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
}


def model_cfg(name, **rpn_head):
    """MMDetection's own config, smaller, and the lines that switch nRPN on."""
    return smaller(get_config(f'mmdet::{DETECTORS[name]}').model, **rpn_head)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', DETECTORS)
def test_trains_under_the_stock_detector(name, method):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*(NRPN|HardNegative).*')
        model = MODELS.build(model_cfg(name, **METHODS[method]))
        model.init_weights()
        losses = model(**inputs(model, name == 'MaskRCNN'), mode='loss')
    assert type(model).__name__ == name
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_nrpn_cls', 'nrpn_false_positives'} <= set(losses)
    assert ('loss_nrpn_bbox' in losses) is (method == 'paper')
    assert ('loss_rpn_rank' in losses) is (method in ('nrpn', 'focal'))
    total, logged = model.parse_losses(losses)
    assert ({'rpn_hard_neg_score', 'rpn_random_neg_score'} <= set(logged)) is (method in ('sampled', 'paper'))
    parts = [value for key, value in logged.items() if 'loss' in key and key != 'loss']
    torch.testing.assert_close(total, sum(parts))  # what is only logged is not trained on
    total.backward()
    head = model.bbox_head if name == 'RPN' else model.rpn_head
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


@pytest.mark.parametrize('method', ['sampled', 'paper'])
@pytest.mark.parametrize('name', DETECTORS)
def test_samples_what_its_nrpn_finds_hard(name, method, monkeypatch):
    """The hardest alone are in its pool, so every other sampled negative is easier, by what the nRPN returned."""
    torch.manual_seed(0)
    model = MODELS.build(model_cfg(name, **METHODS[method]))
    model.init_weights()
    head = model.bbox_head if name == 'RPN' else model.rpn_head
    head.sampler.pool_factor = 1
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.05)
    nrpn, returned = head.nrpn_head, []
    learn = nrpn.loss_and_hardness
    monkeypatch.setattr(nrpn, 'loss_and_hardness', lambda *a: returned.append(learn(*a)) or returned[-1])
    batch = inputs(model, name == 'MaskRCNN')
    for sample in batch['data_samples']:  # anchors on ignored objects are sampled at random alone
        sample.ignored_instances = sample.ignored_instances[:0]
    model(**batch, mode='loss')
    ((_, hardness),) = returned
    for row, result in zip(hardness, head.sampling_results):
        assert len(result.hard_anchors) == (head.sampler.num - len(result.pos_inds)) // 2
        assert row[result.hard_anchors].min() >= row[result.random_anchors].max()


@pytest.mark.parametrize('name', ['RPN', 'FasterRCNN'])
def test_predicts_like_the_stock_model_with_its_weights(name):
    torch.manual_seed(0)
    ours = MODELS.build(model_cfg(name, **NRPN)).eval()
    stock = MODELS.build(model_cfg(name)).eval()
    weights = {key: value for key, value in ours.state_dict().items() if '.nrpn_head.' not in key}
    stock.load_state_dict(weights, strict=True)
    batch = inputs(ours, False)
    with torch.no_grad():
        results = [model(**copy.deepcopy(batch), mode='predict') for model in (ours, stock)]
    for got, expected in zip(*results):
        assert len(got.pred_instances) == len(expected.pred_instances)
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(got.pred_instances[key], expected.pred_instances[key])


def test_the_same_seed_gives_the_stock_weights():
    states = []
    for rpn_head in ({}, NRPN, METHODS['paper']):
        torch.manual_seed(0)
        model = MODELS.build(model_cfg('FasterRCNN', **rpn_head))
        model.init_weights()
        states.append(model.state_dict())
    for key, value in states[0].items():
        assert torch.equal(states[1][key], value) and torch.equal(states[2][key], value), key


@pytest.mark.parametrize('method', METHODS)
def test_trains_under_a_tracker_on_mmdetections_own_fixture(method):
    """Its ignored objects are NumPy arrays in float64 without labels."""
    cfg = get_config('mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py').model
    cfg.detector = smaller(cfg.detector, **METHODS[method])
    cfg.detector.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    batch = model.data_preprocessor(demo_track_inputs(num_frames=2, key_frames_inds=[0]), True)
    assert isinstance(batch['data_samples'][0][0].ignored_instances.bboxes, np.ndarray)
    total, logged = model.parse_losses(model(**batch, mode='loss'))
    total.backward()
    assert {'loss_track', 'loss_rpn_cls', 'loss_nrpn_cls'} <= set(logged)
    assert all(torch.isfinite(p.grad).all() for p in model.detector.rpn_head.parameters())
