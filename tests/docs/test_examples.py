"""The Python in the docs does what they say."""

import re

import pytest
import torch
from mmdet.registry import HOOKS, METRICS, MODELS
from mmengine.config import Config

import mmdet_nrpn
from mmdet_nrpn.models.utils import objectness_logits
from mmdet_nrpn.utils import rpn_of


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
def drawn(build_head, features, make_sample, examples):
    """Head, hardness of every anchor as the example has it, and the indices drawn as hard, of one picture."""

    def drawn(sampler='NRPNSampler', **kwargs):
        # the hardest alone, but for the sampler whose point that is
        pool_factor = 4 if sampler == 'HardestSampler' else 1
        head = build_head(sampler=dict(type=sampler, num=32, hard_fraction=0.5, pool_factor=pool_factor), **kwargs)
        x = features(num=1)
        losses = head.loss(x, [make_sample([[8, 8, 40, 40]])])
        sum(sum(v) if isinstance(v, list) else v for k, v in losses.items() if 'loss' in k).backward()
        (result,) = head._raw_positive_infos['sampling_results']
        return head, x, result

    return drawn


def priors(head, outs):
    return torch.cat(head.prior_generator.grid_priors([level.shape[-2:] for level in outs[0]], device='cpu'))


def test_small_first(drawn):
    head, x, result = drawn(nrpn_head=dict(type='SmallFirstNRPNHead'))
    assert type(head.nrpn_head).__name__ == 'SmallFirstNRPNHead'
    anchors = priors(head, head(x))
    areas = (anchors[:, 2:] - anchors[:, :2]).prod(dim=1)
    assert len(result.hard_negatives) > 4
    # an untrained nRPN says about the same of all
    assert (areas[result.hard_negatives] < 1.01 * areas.min()).all() and areas[
        result.random_negatives
    ].max() > areas.min()


def test_unsure(drawn):
    head, x, result = drawn(type='UnsureRPNHead', sampler='NRPNSampler')
    assert head.nrpn_head is None
    unsure = -objectness_logits(head(x)[0])[0].abs()
    assert unsure[result.hard_negatives].min() >= unsure[result.random_negatives].max()


def test_hardest(drawn):
    head, x, result = drawn(sampler='HardestSampler')
    outs, seen = head.forward_with_nrpn(x)
    hardness = objectness_logits(head.nrpn_head(seen)[0])[0]
    assert hardness[result.hard_negatives].min() >= hardness[result.random_negatives].max()


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
                assert type(head.nrpn_head).__name__ == cfg.model.rpn_head.nrpn_head.type
        if 'val_evaluator' in block:
            METRICS.build(cfg.val_evaluator)
        for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
            if hook.type in mmdet_nrpn.__all__:
                HOOKS.build(hook)
