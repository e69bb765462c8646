"""Hooks, schedulers, samplers and the like that are misspelt are told before the training."""

import re

import pytest
from check_config import Check
from spoiled_data import told


@pytest.mark.parametrize(
    'lines, words',
    [
        ("custom_hooks = [dict(type='EMAHok')]", r"custom_hooks\[0\].type='EMAHok' is not registered"),
        ("custom_hooks = [dict(typ='EMAHook')]", r'custom_hooks\[0\]=.*has no type'),
        ("default_hooks = dict(logger=dict(type='LogerHook'))", "default_hooks.logger.type='LogerHook'"),
        (
            'default_hooks = dict(logger=dict(intervall=5))',
            "default_hooks.logger cannot.*'intervall'",
        ),
        ("param_scheduler = [dict(type='LinearRL')]", r"param_scheduler\[0\].type='LinearRL' is not registered"),
        (
            "param_scheduler = dict(_delete_=True, type='StepLR', stepsize=3)",
            "param_scheduler cannot.*'stepsize'",
        ),
        ("train_dataloader = dict(sampler=dict(type='InfinitSampler'))", "train_dataloader.sampler.type='Infin"),
        ("train_dataloader = dict(batch_sampler=dict(type='Aspect'))", "train_dataloader.batch_sampler.type='Aspect'"),
        (
            'val_dataloader = dict(sampler=dict(shufle=False))',
            "val_dataloader.sampler cannot.*'shufle'",
        ),
        ("visualizer = dict(type='Visualiser')", "visualizer.type='Visualiser'"),
        ("visualizer = dict(type='Visualizer', vis_backends=[dict(type='Board')])", r"vis_backends\[0\].type='Board'"),
        ("train_cfg = dict(type='IterLoop', max_iters=5)", "train_cfg.type='IterLoop'"),
        ('default_hooks = dict(checkpoint=dict(save_last=False, interval=3))', 'checkpoint.save_last=False .*take'),
        ('default_hooks = dict(checkpoint=dict(save_last=False, interval=-1))', 'checkpoint.save_last=False .*take'),
        ('default_hooks = dict(checkpoint=dict(save_last=False, interval=9999))', 'checkpoint.save_last=False .*take'),
    ],
)
def test_a_misspelt_part_of_the_training(make_own, lines, words):
    lines = lines.replace('val_dataloader = dict(', 'val_dataloader = dict(val_dataloader, ')
    line = told(make_own('voc', lines=lines))
    assert re.search(words, line), line


@pytest.mark.parametrize(
    'lines',
    [
        'default_hooks = dict(checkpoint=dict(save_last=False, interval=50))',
        "custom_hooks = [dict(type='mmengine.EMAHook', priority='NORMAL')]",
        "default_hooks = dict(checkpoint=None)\ncustom_hooks = [dict(type='CheckpointHook', by_epoch=False)]",
        "param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[1], convert_to_iter_based=True)",
        'param_scheduler = None',
        "visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])",
    ],
)
def test_parts_that_are_spelt_right_pass(make_own, lines):
    assert Check()(make_own('voc', lines=lines)) is None
