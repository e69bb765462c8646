"""A class's default is the recommended setting, and the configs spell it out: a result's hash sees each number."""

import inspect
import warnings

import pytest
from mmdet.models.dense_heads import AnchorHead, RPNHead
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config

import mmdet_nrpn
from mmdet_nrpn.models.dense_heads import hard_negative_rpn_head
from mmdet_nrpn.models.losses import hard_negative_rank_loss, overlap_loss

STOCK = {name for cls in (RPNHead, AnchorHead, RandomSampler) for name in inspect.signature(cls).parameters}
# what the method of a file sets otherwise than its class's default, or what is no number of the method
OTHERWISE = {
    'rpn-overlap': dict(nrpn_head=None, loss_rank=None),
    'rpn-focal-rank': dict(nrpn_head=None),
    'paper-nrpn': dict(loss_rank=None),
    'paper-nrpn-overlap': dict(loss_rank=None),
}
OFF_UNLESS_ASKED_FOR = {'hard_iou_thr', 'context', 'reduction'}
TWO_LINES = dict(rpn_head=dict(type='HardNegativeRPNHead'))
DETECTORS = {
    'rpn': 'rpn/rpn_r50_fpn_1x_coco',
    'faster': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'cascade': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco',
    'mask': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
}


def parts(value):
    """Every dict with a type of ours within a config."""
    if isinstance(value, dict):
        if getattr(mmdet_nrpn, str(value.get('type')), None):
            yield value
        for item in value.values():
            yield from parts(item)


def methods(repo):
    folder = repo / 'configs' / 'nrpn' / '_base_' / 'methods'
    return {path.stem: Config.fromfile(path).method for path in sorted(folder.glob('*.py'))}


def test_methods_spell_out_the_defaults_of_their_classes(repo):
    """A changed default of a class fails here, and so does a changed number in a method."""
    seen = set()
    for method, cfg in methods(repo).items():
        for part in parts(cfg):
            cls = getattr(mmdet_nrpn, part['type'])
            seen.add(cls)
            for name, parameter in inspect.signature(cls).parameters.items():
                if parameter.default is parameter.empty or name in STOCK | OFF_UNLESS_ASKED_FOR:
                    continue
                assert name in part, f'{method}: {part["type"]}.{name} is not spelt out'
                expected = OTHERWISE.get(method, {}).get(name, parameter.default)
                if name in ('nrpn_head', 'loss_rank') and expected is not None:
                    assert expected == {} and part[name] is not None  # its own numbers are compared in their turn
                else:
                    assert part[name] == expected, f'{method}: {part["type"]}.{name}'
    assert {cls.__name__ for cls in seen} == {
        'HardNegativeRPNHead', 'HardNegativeRankLoss', 'NRPNHead', 'NRPNSampler', 'OverlapLoss', 'PaperNRPNHead',
    }  # fmt: skip


def test_the_recommended_setting_is_the_default(repo):
    """Of the parts, types alone, as they are for a head without settings."""
    method = methods(repo)['nrpn']
    assert method['rpn_head']['nrpn_head']['type'] == 'NRPNHead'
    assert method['rpn_head']['loss_rank']['type'] == 'HardNegativeRankLoss'
    assert set(method) == {'rpn_head'}


def test_constants_of_the_method_are_those_that_results_were_measured_with():
    """They are in no config, so no hash sees them: with another value, results would be another method's."""
    assert hard_negative_rpn_head.IGNORED_IOF_THR == 0.3
    assert hard_negative_rank_loss.MOST == 100
    assert overlap_loss.MIN_OVERLAP == 1e-6


@pytest.mark.parametrize('kind', DETECTORS)
def test_the_two_lines_are_the_nrpn_method(repo, tmp_path, kind):
    register_all_modules()
    base = f'mmdet::{DETECTORS[kind]}.py'
    (tmp_path / 'two.py').write_text(f"_base_ = ['{base}']\nmodel = {TWO_LINES}\n")
    method = repo / 'configs' / 'nrpn' / '_base_' / 'methods' / 'nrpn.py'
    (tmp_path / 'method.py').write_text(f"_base_ = ['{base}', '{method}']\nmodel = _base_.method\n")
    heads = []
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*(NRPN|HardNegative).*')
        for name in ('two', 'method'):
            cfg = Config.fromfile(tmp_path / f'{name}.py').model
            cfg.backbone.init_cfg = None
            model = MODELS.build(cfg)
            heads.append(model.bbox_head if kind == 'rpn' else model.rpn_head)
    assert repr(heads[0]) == repr(heads[1])
    two, method = ([_settings(part) for part in (head, head.nrpn_head, head.loss_rank, head.sampler)] for head in heads)
    assert two == method


def _settings(part):
    return {key: value for key, value in vars(part).items() if isinstance(value, (int, float, str, type(None)))}
