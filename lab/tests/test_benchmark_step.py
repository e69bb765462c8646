import json

import pytest
import torch

from lab.scripts.timed_model import TimedModel
from mmdet_nrpn.utils import rpn_of

TOOL = 'lab/scripts/benchmark_step.py'


@pytest.mark.slow
def test_times_parts_memory_and_predictions(run_tool, tmp_path):
    configs = [f'configs/nrpn/{row}_r18-w16_fpn_demo_shapes.py' for row in ('rpn-focal', 'nrpn-focal')]
    out = tmp_path / 'times.json'
    done = run_tool(
        TOOL, *configs,
        '--size', 64, 96, '--batch', 1, '--rounds', 2, '--out', out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stock, ours = done.stdout.split('\n\n')[-2:]
    assert 'ratio 1.000 (1.000 to 1.000)' in stock and 'nRPN' not in stock
    assert 'predicts the same bit for bit as the first' in ours
    for part in ('mining', 'loss', 'ranking', 'backward'):
        assert f'nRPN: {part}' in ours
    times = json.loads(out.read_text())
    for row in times.values():
        assert len(row['step']) == len(row['predict']) == 2 and min(row['step']) > 0 and row['peak_mib'] > 0


@pytest.mark.slow
def test_predictions_are_compared_with_equal_weights(run_tool, repo, tmp_path):
    """With focal loss an RPN starts at another objectness than stock's."""
    configs = repo / 'configs' / 'nrpn'
    stock = configs / 'faster-rcnn_r18-w16_fpn_demo_semi-shapes.py'
    focal = tmp_path / 'focal.py'
    method = configs / '_base_' / 'methods' / 'nrpn-focal.py'
    focal.write_text(f"_base_ = ['{stock}', '{method}']\nmodel = _base_.method\n")
    other = configs / 'rpn_r18-w16_fpn_demo_shapes.py'
    done = run_tool(TOOL, stock, focal, other, '--size', 64, 96, '--batch', 1, '--rounds', 1)
    assert done.returncode == 0, done.stderr
    of_stock, of_focal, of_other = done.stdout.split('\n\n')[-3:]
    same = 'with equal weights, predicts the same bit for bit as the first'
    assert same in of_stock and same in of_focal
    assert 'has other weights than the first' in of_other and 'predicts' not in of_other


def test_weights_are_lent(repo):
    names = ('rpn_r18-w16_fpn_demo_shapes', 'nrpn-focal_r18-w16_fpn_demo_shapes', 'rpn_r18_fpn_short_own-coco')
    stock, ours, other = (
        TimedModel(repo / 'configs' / 'nrpn' / f'{name}.py', (64, 64), 1, 'cpu', amp=False) for name in names
    )

    def bias(model):
        return rpn_of(model.model).rpn_cls.bias.detach().clone()

    starts = [bias(model) for model in (stock, ours, other)]
    assert not torch.equal(starts[0], starts[1])
    with ours.weights_of(stock) as fit:
        assert fit and torch.equal(bias(ours), starts[0])
    with other.weights_of(ours) as fit:
        assert not fit and torch.equal(bias(other), starts[2])
    assert all(torch.equal(bias(model), start) for model, start in zip((stock, ours, other), starts))


@pytest.mark.parametrize('model', ['soft-teacher', 'qdtrack'])
def test_a_model_with_its_detector_inside_is_refused_with_what_to_give(run_tool, repo, model):
    (config,) = (repo / 'configs' / 'nrpn').glob(f'{model}_*.py')
    done = run_tool(TOOL, config)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert f'{config}: model.type=' in done.stderr and 'the config of that detector alone' in done.stderr


def test_an_output_that_is_a_folder_is_told_at_the_start(run_tool, tmp_path):
    done = run_tool(TOOL, '--out', tmp_path)
    assert done.returncode == 2 and f'{tmp_path} is a folder' in done.stderr
