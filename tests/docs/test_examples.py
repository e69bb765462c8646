"""The Python in the docs does what they say."""

import re

import pytest
import torch
from mmdet.registry import HOOKS, METRICS, MODELS
from mmengine.config import Config

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
    assert len(re.findall('^class ', '\n'.join(blocks), re.M)) == 3
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


def test_unsure(train_step):
    head, x, result = train_step(type='UnsureRPNHead')
    assert head.nrpn_head is None
    unsure = -objectness_logits(head(x)[0])[0].abs()
    assert unsure[result.hard_anchors].min() >= unsure[result.random_anchors].max()


def test_hardest(train_step):
    head, x, result = train_step(sampler='HardestSampler')
    _, n = nrpn_logits(head, x)
    assert n[result.hard_anchors].min() >= n[result.random_anchors].max()


@pytest.mark.parametrize(
    'number, stock, method',
    [
        (0, 'rpn/rpn_r50_fpn_1x_coco', 'nrpn-focal'),
        (1, 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'nrpn'),
    ],
)
def test_the_recommended_setting_is_the_one_that_is_measured(repo, tmp_path, number, stock, method):
    base = f'mmdet::{stock}.py'
    texts = dict(
        readme=f"_base_ = ['{base}']\n" + python_blocks(repo / 'README.md')[number],
        method=f"_base_ = ['{base}', '{repo}/configs/nrpn/_base_/methods/{method}.py']\nmodel = _base_.method\n",
    )
    models = []
    for name, text in texts.items():
        (tmp_path / f'{name}.py').write_text(text)
        models.append(Config.fromfile(tmp_path / f'{name}.py').model)
    readme, measured = (rpn_of(MODELS.build(model)) for model in models)
    assert repr(readme) == repr(measured)
    assert readme.hardness == measured.hardness
    for number in ('max_num', 'iou_thr'):
        assert getattr(readme.nrpn_head, number) == getattr(measured.nrpn_head, number)
    for model in models:  # README leaves out what is the default
        for key in ('nrpn_head', 'loss_rank', 'hardness'):
            model.rpn_head.pop(key, None)
    assert models[0] == models[1]


def test_the_detectors_page_has_the_lines_of_readme(repo):
    assert python_blocks(repo / 'docs' / 'detectors.md') == python_blocks(repo / 'README.md')[1:2]


@pytest.mark.parametrize(
    'name',
    ['README.md', *(f'docs/{n}.md' for n in ('extending', 'measuring', 'overlap_loss', 'promises', 'seeing'))],
)
def test_config_lines_build(repo, tmp_path, examples, name):
    """The config lines in the docs, laid over a stock config, build what they name."""
    blocks = [block for block in python_blocks(repo / name) if '_base_' not in block and 'class ' not in block]
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
        if 'val_evaluator' in block:
            METRICS.build(cfg.val_evaluator)
        for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
            if hook.type in mmdet_nrpn.__all__:
                HOOKS.build(hook)


@pytest.mark.parametrize(
    'page, base, kind',
    [
        ('tracking', 'mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py', 'QDTrack'),
        (
            'partly_labelled',
            'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
            'IgnoringSoftTeacher',
        ),
    ],
)
def test_the_recommended_setting_in_a_tracker_and_a_teacher(repo, tmp_path, page, base, kind):
    path = repo / 'docs' / f'{page}.md'
    assert page == 'tracking' or base in path.read_text()
    lines = python_blocks(repo / 'README.md')[1] + python_blocks(path)[0]
    (tmp_path / 'mine.py').write_text(f"_base_ = ['{base}']\n{lines}")
    model = MODELS.build(Config.fromfile(tmp_path / 'mine.py').model)
    assert type(model).__name__ == kind
    for detector in [model.detector] if page == 'tracking' else [model.student, model.teacher]:
        head = detector.rpn_head
        assert head.loss_rank is not None and type(head.nrpn_head).__name__ == 'NRPNHead'
        assert type(head.sampler).__name__ == 'RandomSampler'
