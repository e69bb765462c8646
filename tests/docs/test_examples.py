"""The Python in the docs does what they say."""

import re

import pytest
import torch
from mmdet.registry import HOOKS, MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.evaluator import Evaluator

import mmdet_nrpn
from mmdet_nrpn.utils import objectness_logits, rpn_of


def python_blocks(path):
    return re.findall(r'^```python\n(.*?)^```', path.read_text(), re.S | re.M)


@pytest.fixture
def examples(repo, monkeypatch):
    """The classes of docs/extending.md by name, registered as they would be by a module of a project."""
    blocks = python_blocks(repo / 'docs' / 'extending.md')
    names = {}
    for block in blocks:
        # registering a second time, in another test, would be refused
        exec(block.replace('register_module()', 'register_module(force=True)'), names)
    assert len(re.findall('^class ', '\n'.join(blocks), re.M)) == 5
    return names


@pytest.fixture
def train_step(build_head, features, make_sample, examples):
    """The head after a training step of one image, its features, what it sampled, and its nRPN's first weights."""

    def train_step(sampler='NRPNSampler', **kwargs):
        # the hardest alone, but for the sampler whose point that is
        pool_factor = 4 if sampler == 'HardestSampler' else 1
        head = build_head(sampler=dict(type=sampler, num=32, hard_fraction=0.5, pool_factor=pool_factor), **kwargs)
        if head.nrpn_head is not None:
            torch.nn.init.normal_(head.nrpn_head.nrpn_cls.weight)
        x = features(num=1)
        losses = head.loss(x, [make_sample([[8, 8, 40, 40]])])
        sum(sum(v) for k, v in losses.items() if 'loss' in k).backward()
        (result,) = head.sampling_results
        assert len(result.hard_anchors) > 4
        return head, x, result

    return train_step


def nrpn_logits(head, x):
    outs, hidden = head.forward_with_hidden(x)
    return objectness_logits(outs[0])[0], objectness_logits(head.forward_nrpn(x, hidden))[0]


def test_candidates_first(train_step):
    head, x, result = train_step(nrpn_head=dict(type='CandidatesFirstNRPNHead'))
    assert type(head.nrpn_head).__name__ == 'CandidatesFirstNRPNHead'
    objectness, n = nrpn_logits(head, x)
    expected = n.clone()
    expected[objectness.topk(300).indices] *= 2
    assert expected[result.hard_anchors].min() >= expected[result.random_anchors].max()
    assert n[result.hard_anchors].min() < n[result.random_anchors].max()


def negatives_that_are_ranked(head, monkeypatch):
    seen, loss = [], type(head.loss_rank)
    forward = loss.forward
    monkeypatch.setattr(
        loss, 'forward', lambda self, *args, **kwargs: seen.append(args) or forward(self, *args, **kwargs)
    )
    return seen


def test_whole_anchors(build_head, features, make_sample, examples, monkeypatch):
    head = build_head('WholeAnchorsRPNHead', sampler=dict(type='RandomSampler'))
    seen = negatives_that_are_ranked(head, monkeypatch)
    head.loss(features(1), [make_sample([[8, 8, 40, 40]])])
    ((_, _, negative),) = seen
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    inside = ((anchors >= 0) & (anchors <= 64)).all(1)
    assert (negative[0] & inside).any() and not (negative[0] & ~inside).any()


def test_sure(build_head, features, make_sample, examples, monkeypatch):
    head = build_head('SureRPNHead', sampler=dict(type='RandomSampler'))
    seen = negatives_that_are_ranked(head, monkeypatch)
    losses = head.loss(features(1), [make_sample([[8, 8, 40, 40]])])
    ((logits, positive, negative),) = seen
    assert positive.any() and negative.any() and (logits[negative] >= 0).all() and losses['loss_rpn_rank'][0] > 0
    torch.nn.init.constant_(head.rpn_cls.bias, -10)
    assert head.loss(features(1), [make_sample([[8, 8, 40, 40]])])['loss_rpn_rank'][0] == 0


def test_hard_iou_thr_in_one_line(build_head, features, make_sample, monkeypatch):
    head = build_head(sampler=dict(type='RandomSampler'), loss_rank=dict(), hard_iou_thr=0.1)
    seen, gt = negatives_that_are_ranked(head, monkeypatch), [[8.0, 8, 40, 40]]
    head.loss(features(1), [make_sample(gt)])
    anchors = torch.cat(head.prior_generator.grid_priors([(16, 16), (8, 8)], device='cpu'))
    assert torch.equal(seen[0][2][0], bbox_overlaps(anchors, torch.tensor(gt))[:, 0] < 0.1)


def test_margin_loss(build_head, features, make_sample, examples):
    head = build_head(sampler=dict(type='RandomSampler'), loss_rank=dict(type='MarginLoss', loss_weight=1.0))
    losses = head.loss(features(2), [make_sample([[8, 8, 40, 40]]), make_sample([])])
    assert losses['loss_rpn_rank'][0] > 0  # a margin of 1 between logits that start near 0
    losses['loss_rpn_rank'][0].backward()
    assert head.rpn_cls.weight.grad.abs().sum() > 0
    empty = head.loss(features(1), [make_sample([])])['loss_rpn_rank'][0]
    assert empty == 0 and empty.requires_grad


def test_hardest(train_step):
    head, x, result = train_step(sampler='HardestSampler')
    _, n = nrpn_logits(head, x)
    assert n[result.hard_anchors].min() >= n[result.random_anchors].max()


def block_of(path, start):
    """The first Python of a section."""
    (section,) = re.findall(rf'^## {start}\n(.*?)(?=^## |\Z)', path.read_text(), re.S | re.M)
    return re.search(r'^```python\n(.*?)^```', section, re.S | re.M)[1]


@pytest.mark.parametrize(
    'page, section, stock, method',
    [
        ('README.md', 'Use it', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'nrpn'),
        ('docs/guide.md', 'In a detector', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'nrpn'),
        ('docs/guide.md', 'An RPN alone', 'rpn/rpn_r50_fpn_1x_coco', 'nrpn-focal'),
        ('docs/guide.md', "The paper's method", 'rpn/rpn_r50_fpn_1x_coco', 'paper-nrpn'),
    ],
)
def test_the_settings_are_those_that_are_measured(repo, tmp_path, make_sample, page, section, stock, method):
    """A config's lines and the method's file build heads with equal weights, samplers and losses."""
    base, losses, heads = f'mmdet::{stock}.py', [], []
    for lines in (
        f"_base_ = ['{base}']\n" + block_of(repo / page, section),
        f"_base_ = ['{base}', '{repo}/configs/nrpn/_base_/methods/{method}.py']\nmodel = _base_.method\n",
    ):
        (tmp_path / 'mine.py').write_text(lines)
        model = Config.fromfile(tmp_path / 'mine.py').model
        torch.manual_seed(0)
        heads.append(head := MODELS.build(dict(model.rpn_head, train_cfg=model.train_cfg.rpn)))
        head.init_weights()
        if hasattr(head.nrpn_head, 'nrpn_cls'):  # zero at first, which would be no prior
            torch.nn.init.normal_(head.nrpn_head.nrpn_cls.weight)
        x = tuple(torch.randn(1, 256, 64 // stride, 64 // stride) for stride in (4, 8, 16, 32, 64))
        losses.append(head.loss(x, [make_sample([[8, 8, 40, 40]])]))
    assert repr(heads[0]) == repr(heads[1]) and type(heads[0].sampler) is type(heads[1].sampler)
    assert set(losses[0]) == set(losses[1])
    torch.testing.assert_close(*losses, rtol=0, atol=0)


@pytest.mark.parametrize(
    'name',
    [
        'README.md',
        *(f'docs/{name}.md' for name in ('extending', 'guide', 'inspect', 'measuring', 'method', 'promises')),
    ],
)
def test_config_lines_build(repo, tmp_path, examples, name):
    """The config lines in the docs, laid over a stock config, build what they name."""
    blocks = [
        block
        for block in python_blocks(repo / name)
        if not any(word in block for word in ('_base_', 'class ', 'detector='))
    ]
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f'{number}.py'
        path.write_text("_base_ = ['mmdet::rpn/rpn_r50_fpn_1x_coco.py']\n" + block)
        cfg = Config.fromfile(path)
        if 'rpn_head' in block:
            head = rpn_of(MODELS.build(cfg.model))
            assert type(head).__name__ == cfg.model.rpn_head.type
            assert type(head.sampler).__name__ == cfg.model.train_cfg.rpn.sampler.type
            if 'nrpn_head' in block:
                written = cfg.model.rpn_head.nrpn_head
                assert head.nrpn_head is None if written is None else type(head.nrpn_head).__name__ == written.type
        if 'filter_cfg' in block:
            assert cfg.train_dataloader.dataset.filter_cfg == dict(filter_empty_gt=False, min_size=32)
        if 'val_evaluator' in block:
            Evaluator(cfg.val_evaluator)
        for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
            if hook.type in mmdet_nrpn.__all__:
                HOOKS.build(hook)


@pytest.mark.parametrize(
    'base, kind',
    [
        ('mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py', 'QDTrack'),
        ('mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py', 'IgnoringSoftTeacher'),
    ],
)
def test_the_two_lines_in_a_tracker_and_a_teacher(repo, tmp_path, base, kind):
    guide = repo / 'docs' / 'guide.md'
    assert kind == 'QDTrack' or base in guide.read_text()
    (lines,) = [
        block
        for block in python_blocks(guide)
        if 'detector=model' in block and ('type=' in block) == (kind != 'QDTrack')
    ]
    (tmp_path / 'mine.py').write_text(f"_base_ = ['{base}']\n{block_of(guide, 'In a detector')}{lines}")
    model = MODELS.build(Config.fromfile(tmp_path / 'mine.py').model)
    assert type(model).__name__ == kind
    for detector in [model.detector] if kind == 'QDTrack' else [model.student, model.teacher]:
        head = detector.rpn_head
        assert head.loss_rank is not None and type(head.nrpn_head).__name__ == 'NRPNHead'
        assert type(head.sampler).__name__ == 'RandomSampler'


def test_the_rpn_inside_a_faster_rcnn_is_measured_as_it_is(repo, tmp_path):
    small = 'backbone=dict(depth=18, base_channels=8, init_cfg=None), neck=dict(in_channels=[8, 16, 32, 64])'
    faster = "_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py']"
    (tmp_path / 'my_faster_rcnn.py').write_text(f'{faster}\nmodel = dict({small})\n')
    (tmp_path / 'inside.py').write_text(block_of(repo / 'docs' / 'measuring.md', 'The RPN inside a detector'))
    faster = MODELS.build(Config.fromfile(tmp_path / 'my_faster_rcnn.py').model).eval()
    cfg = Config.fromfile(tmp_path / 'inside.py')
    rpn = MODELS.build(cfg.model).eval()
    missing, unexpected = rpn.load_state_dict(faster.state_dict(), strict=False)
    assert not missing and all(key.startswith('roi_head') for key in unexpected)
    x = faster.extract_feat(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    for ours, theirs in zip(rpn.bbox_head(x), faster.rpn_head(x)):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
    assert cfg.test_evaluator == dict(type='ProposalMetric')
