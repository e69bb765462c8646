import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_nrpn.benchmark import Run, check

CONFIG = 'rpn_r18-w16_fpn_demo_shapes'
NO_OBJECTS = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=())]


@pytest.fixture
def make_run(repo, shapes, tmp_path, monkeypatch):
    """A run of the demo config with some lines more."""
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')

    def make(lines='', checkpoint=None):
        config = tmp_path / 'mine.py'
        config.write_text(f"_base_ = ['{repo / 'configs' / 'nrpn' / CONFIG}.py']\n{lines}\n")
        return Run(config, 0, tmp_path / 'work', checkpoint)

    return make


def test_a_good_config_passes(make_run):
    assert check(make_run()) is None


@pytest.mark.parametrize(
    'lines, words',
    [
        ("model = dict(rpn_head=dict(type='HardNegativRPNHead'))", "did you mean 'HardNegativeRPNHead'"),
        ("model = dict(train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampeler'))))", "did you mean 'NRPNSampler'"),
        ("model = dict(rpn_head=dict(type='HardNegativeRPNHead', hardness='typo'))", "hardness='typo'"),
        ("optim_wrapper = dict(optimizer=dict(type='AdmW'))", "'AdmW' is not registered; did you mean 'AdamW'"),
        (f'test_dataloader = dict(dataset=dict(pipeline={NO_OBJECTS}))', 'LoadAnnotations'),
        ("train_dataloader = dict(dataset=dict(data_root='nowhere/'))", 'nowhere/.* is not there; check data_root'),
        ("train_dataloader = dict(dataset=dict(metainfo=dict(classes=('cat', 'dog'))))", 'no object of classes=.*cat'),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_to_do(make_run, lines, words):
    line = check(make_run(lines))
    assert '\n' not in line
    assert 'mine.py: ' in line
    assert re.search(words, line), line


def test_a_picture_that_is_not_there_is_told(make_run, shapes):
    first = (shapes / 'ImageSets' / 'Main' / 'train.txt').read_text().split()[0]
    (shapes / 'JPEGImages' / f'{first}.jpg').unlink()
    line = check(make_run())
    assert re.search(f'JPEGImages/{first}.jpg is not there; check data_root', line), line


def test_a_misspelt_class_among_others_is_mentioned(make_run, capsys):
    classes = ('disc', 'Square', 'triangle')
    assert check(make_run(f'train_dataloader = dict(dataset=dict(metainfo=dict(classes={classes})))')) is None
    assert "no object of ['Square']" in capsys.readouterr().err


def test_a_checkpoint_of_another_model_is_told(make_run, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(64, 3, 7, 7)}), path)
    line = check(make_run(checkpoint=path))
    assert 'other.pth is of another model' in line and '\n' not in line


def test_an_rpn_is_found_in_the_checkpoint_of_a_two_stage_detector(make_run, tmp_path):
    run = make_run()
    init_default_scope('mmdet')
    weights = {
        key.replace('bbox_head', 'rpn_head'): value for key, value in MODELS.build(run.cfg.model).state_dict().items()
    }
    torch.save(dict(state_dict={**weights, 'roi_head.fc.weight': torch.zeros(3)}), tmp_path / 'faster.pth')
    assert check(make_run(checkpoint=tmp_path / 'faster.pth')) is None
