"""What tools/train.py does beyond MMDetection's, to cost less."""

import os
import re
import subprocess
import sys

import pytest
from mmdet_tools import format_each_config_once, read_each_metafile_once
from mmengine import fileio
from mmengine.config import Config, config
from mmengine.config import utils as config_utils
from yapf.yapflib import yapf_api


def test_a_config_is_formatted_once(repo, monkeypatch):
    """MMEngine asks for its text at the start and with each checkpoint."""
    asked = []
    stock = yapf_api.FormatCode
    for module in (yapf_api, config):  # MMEngine 0.10.7 has a name of its own for it
        monkeypatch.setattr(
            module, 'FormatCode', lambda *args, **kwargs: asked.append(args) or stock(*args, **kwargs), raising=False
        )
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / 'rpn_r18-w16_fpn_demo_shapes.py')
    expected = cfg.pretty_text
    format_each_config_once()
    assert [cfg.pretty_text for _ in range(3)] == [expected] * 3 and len(asked) == 2
    cfg.model.rpn_head.feat_channels = 7
    assert 'feat_channels=7' in cfg.pretty_text and len(asked) == 3


def test_metafiles_are_read_once(repo, monkeypatch):
    """MMEngine looks for each mmdet:: of a config in all of them."""
    mask_rcnn, read = repo / 'configs' / 'nrpn' / 'nrpn_mask-rcnn_r50_fpn_1x_coco.py', []
    monkeypatch.setattr(config_utils, 'load', lambda path: read.append(path) or fileio.load(path))
    stock = [Config.fromfile(mask_rcnn).to_dict() for _ in range(2)]
    assert len(read) > 100 and len(read) == 2 * len(set(read))
    read_each_metafile_once()
    del read[:]
    assert [Config.fromfile(mask_rcnn).to_dict() for _ in range(2)] == stock and len(read) == len(set(read)) > 50


# a tool up to where it imports MMEngine, after torch
UP_TO_TORCH = """
import runpy, sys

class Stop:
    def find_spec(name, *args):
        if name == 'mmengine':
            import torch
            sys.exit()

sys.meta_path.insert(0, Stop)
runpy.run_path(sys.argv[1])
"""


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'benchmark', 'benchmark/execute.py'])
def test_threads_wait_for_each_other_asleep(repo, tool):
    """A spinning one takes a core from others: beside them a step took ten times as long. libgomp says what it took."""

    def spins(**given):
        env = {key: value for key, value in os.environ.items() if key != 'OMP_WAIT_POLICY'}
        done = subprocess.run(
            [sys.executable, '-c', UP_TO_TORCH, tool], cwd=repo / 'tools',
            env={**env, 'OMP_DISPLAY_ENV': 'verbose', **given}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {int(spins) > 0 for spins in re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)}

    assert spins() == {False}
    if tool == 'train.py':
        assert spins(OMP_WAIT_POLICY='ACTIVE') == {True}
