"""On a GPU, where there is one: the CPU's losses and gradients, no waiting for the device, and half precision."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from small_detector import inputs, smaller

import mmdet_nrpn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
OBJECTS = [[8.0, 8, 24, 24], [30, 30, 60, 62]]
RANK = dict(type='HardNegativeRankLoss', prior_weight=2.0)
# Without a random draw, since a GPU draws other numbers: all anchors, or all positives and the hardest negatives.
ALL = dict(type='PseudoSampler')
HARDEST = dict(type='NRPNSampler', num=400, hard_fraction=1.0, pool_factor=1)
KINDS = {
    'ranking with the nRPN': dict(sampler=ALL, loss_rank=RANK),
    'ranking by itself': dict(sampler=ALL, loss_rank=RANK, nrpn_head=None),
    'hard negatives of the nRPN': dict(sampler=HARDEST),
    'hard negatives by objectness': dict(sampler=HARDEST, hardness='rpn'),
    "the paper's": dict(
        sampler=ALL,
        loss_rank=RANK,
        nrpn_head=dict(type='PaperNRPNHead'),
        loss_cls=dict(type='OverlapLoss', use_sigmoid=True),
    ),
}
DEMO = 'configs/nrpn/{}_r18-w16_fpn_demo_shapes.py'


def losses_and_gradients(head, x, samples):
    losses = head.loss(x, samples)
    sum(sum(level.sum() for level in value) for name, value in losses.items() if 'loss' in name).backward()
    losses = {name: torch.stack([torch.as_tensor(part) for part in value]) if isinstance(value, list) else value
              for name, value in losses.items()}  # fmt: skip
    return losses, {name: parameter.grad for name, parameter in head.named_parameters()}


@pytest.mark.parametrize('kind', KINDS)
def test_losses_and_gradients_are_those_of_the_cpu(build_head, features, make_sample, kind, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    here = build_head(**copy.deepcopy(KINDS[kind]))
    torch.manual_seed(3)
    for parameter in here.parameters():  # a new nRPN is at zero, and all anchors are equally hard
        torch.nn.init.normal_(parameter, std=0.2)
    there = copy.deepcopy(here).cuda()
    samples = [make_sample(OBJECTS), make_sample(OBJECTS[:1], ignored=OBJECTS[1:]), make_sample([])]
    expected = losses_and_gradients(here, features(3), samples)
    got = losses_and_gradients(
        there, [level.cuda() for level in features(3)], [sample.to('cuda') for sample in samples]
    )
    for mine, theirs in zip(got, expected):
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            if kind == "the paper's" and 'nrpn' in name:
                continue  # its objects are decoded boxes after NMS: which anchors they get turns on the last digits
            assert torch.allclose(mine[name].cpu(), value, rtol=1e-3, atol=1e-4), name


def test_mining_and_ranking_do_not_wait_for_the_gpu(build_head, features, make_sample):
    """A wait is MMDetection's, or that of sampling results and targets, which hold indices as in the stock head."""
    head = build_head(
        **copy.deepcopy(KINDS['ranking with the nRPN']), loss_cls=dict(type='OverlapLoss', use_sigmoid=True)
    )
    head.cuda()
    x = [level.cuda() for level in features(2)]
    samples = [make_sample(OBJECTS).to('cuda'), make_sample(OBJECTS[:1], ignored=OBJECTS[1:]).to('cuda')]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            head.loss(x, samples)
        finally:
            torch.cuda.set_sync_debug_mode('default')
    waits = [Path(warning.filename) for warning in caught if 'synchroniz' in str(warning.message)]
    assert waits, 'MMDetection waits for the GPU in assigning anchors; this sees no wait at all'
    ours = {file.name for file in waits if Path(mmdet_nrpn.__file__).parent in file.parents}
    assert ours <= {'hard_negative_rpn_head.py'}  # its _get_targets_single, as AnchorHead's


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('row', ['paper-nrpn', 'paper-nrpn-overlap', 'nrpn-focal'])
def test_mixed_precision_trains(repo, row, dtype):
    cfg = Config.fromfile(repo / DEMO.format(row))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).cuda()
    model.init_weights()
    wrapper = dict(cfg.optim_wrapper, type='AmpOptimWrapper', dtype=dtype)
    optim = build_optim_wrapper(model, wrapper)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    data = demo_mm_inputs(2, [[3, 128, 128]] * 2, num_items=[3, 0], num_classes=2)
    for _ in range(4):
        losses = model.train_step(copy.deepcopy(data), optim)
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values()), losses
    assert any(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    model.eval()
    for sample in model.test_step(copy.deepcopy(data)):
        assert sample.pred_instances.bboxes.dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_detections_with_objectness_are_those_of_the_cpu(dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    cfg = smaller(get_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py').model)
    cfg.roi_head.type = 'ObjectnessRoIHead'
    cfg.test_cfg.rpn.max_per_img = 60
    cfg.test_cfg.rcnn.update(score_thr=0.0, nms=dict(type='nms', iou_threshold=1.0), max_per_img=10_000)
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    model.init_weights()
    for name in ('rpn_head.rpn_cls', 'roi_head.bbox_head.fc_cls'):  # scores of all sizes
        torch.nn.init.normal_(model.get_submodule(name).weight, std=0.5)
    data = inputs(model)
    x, samples = model.extract_feat(data['inputs']), data['data_samples']
    proposals = model.rpn_head.predict(x, samples, rescale=False)
    for of_image in proposals:
        of_image.scores = of_image.scores.to(dtype)  # as an RPN's with AMP
    expected = model.roi_head.predict(x, copy.deepcopy(proposals), samples)
    with torch.autocast('cuda', dtype, enabled=dtype == torch.float16):
        got = model.roi_head.cuda().predict(
            [level.cuda() for level in x], [of_image.to('cuda') for of_image in proposals], samples
        )
    for mine, theirs in zip(got, expected):
        assert mine.scores.is_cuda and min(len(mine), len(theirs)) > 100
        tolerance = 1e-4 if dtype == torch.float32 else 2e-2
        assert torch.allclose(mine.scores[:100].cpu().float(), theirs.scores[:100].float(), rtol=0, atol=tolerance)
        assert (mine.scores >= 0).all() and (mine.scores <= 1).all()


def test_false_detections_are_counted_wherever_the_detections_are(make_sample):
    sample = make_sample(OBJECTS)
    sample.gt_instances.labels[1] = 1
    bboxes = torch.tensor([*OBJECTS, [0, 0, 9, 9]], dtype=torch.float16)
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=torch.float16)
    sample.pred_instances = InstanceData(bboxes=bboxes, scores=scores, labels=torch.tensor([0, 1, 0]))
    found = []
    for device in ('cpu', 'cuda'):
        metric = mmdet_nrpn.FROCMetric()
        metric.process(None, [sample.to(device).to_dict()])
        found.append(metric.compute_metrics(metric.results))
    assert found[0] == pytest.approx(found[1], nan_ok=True) and found[0]['recall@0.125'] == 1
