import json

import pytest

TOOL = 'tools/analysis_tools/benchmark_step.py'
SMALL = ('--size', 64, 96, '--batch', 1, '--rounds', 1)


@pytest.mark.slow
def test_times_parts_memory_and_predictions(run_tool, tmp_path):
    configs = [f'configs/nrpn/{row}_r18-w16_fpn_demo_shapes.py' for row in ('rpn-focal', 'nrpn-rank')]
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
def test_predictions_are_compared_with_equal_weights(run_tool):
    """With focal loss an RPN starts at another objectness than stock's. Of another network, no weights can be taken."""
    same = 'predicts the same bit for bit as the first'
    rpns = [f'configs/nrpn/{row}_r18-w16_fpn_demo_shapes.py' for row in ('rpn', 'nrpn-rank')]
    done = run_tool(TOOL, *rpns, 'configs/nrpn/rpn_efficientnet-lite0_fpn_320px_voc07.py', *SMALL)
    assert done.returncode == 0, done.stderr
    stock, ours, other = done.stdout.split('\n\n')[-3:]
    assert same in stock and same in ours and 'predicts' not in other

    detectors = [f'configs/nrpn/{row}faster-rcnn_r18-w16_fpn_demo_semi-shapes.py' for row in ('', 'nrpn-rank_')]
    done = run_tool(TOOL, *detectors, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(same) == 2
