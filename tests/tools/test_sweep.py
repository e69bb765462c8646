import json

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

TOOL = 'tools/fold/sweep.py'
CONFIG = 'configs/nrpn/nrpn-focal_r18-w16_fpn_demo_shapes.py'


@pytest.fixture
def checkpoint(repo, tmp_path):
    """Of an RPN and an nRPN with random weights."""

    def save(config=CONFIG):
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(repo / config).model)
        model.init_weights()
        head = model.bbox_head
        for module in (head.rpn_cls, getattr(getattr(head, 'nrpn_head', None), 'nrpn_cls', head.rpn_cls)):
            torch.nn.init.normal_(module.weight, std=0.3)
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
        return tmp_path / 'model.pth'

    return save


@pytest.mark.slow
def test_each_factor_is_what_the_folded_checkpoint_measures(run_tool, repo, shapes, checkpoint, tmp_path):
    """The independent way: fold by strip.py, then MMDetection's test tool on the stock config."""
    config = tmp_path / 'mine.py'  # whose RPN would learn nothing from its nRPN, and need not
    config.write_text(f"_base_ = ['{repo / CONFIG}']\nmodel = dict(rpn_head=dict(loss_rank=None))\n")
    figure, options = tmp_path / 'fold.png', dict(SHAPES_ROOT=f'{shapes}/')
    done = run_tool(TOOL, config, checkpoint(), '--folds', 0, 0.5, '--out', figure, **options)
    assert done.returncode == 0 and 'learns nothing' not in done.stderr, done.stderr
    assert figure.stat().st_size > 10_000 and str(figure) in done.stdout
    printed = done.stdout
    swept = json.loads((tmp_path / 'fold.json').read_text())
    assert list(swept) == ['0', '0.5'] and swept['0'] != swept['0.5']
    for fold, metrics in swept.items():
        out = tmp_path / f'fold{fold}'
        run_tool('tools/fold/strip.py', tmp_path / 'model.pth', out, '--fold', fold)
        done = run_tool(
            'tools/test.py', 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py', next(out.iterdir()), '--work-dir', out,
            '--cfg-options', f'test_evaluator.out_file={out}/metrics.json', **options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        expected = json.loads((out / 'metrics.json').read_text())['metrics']
        names = ('AR@10', 'AR@100', 'FP@10', 'FP@100')
        assert [metrics[name] for name in names] == pytest.approx([expected[name] for name in names], abs=0.002)
        shown = [fold, *(f'{100 * metrics[name]:.1f}' for name in names)]
        assert shown in [line.split() for line in printed.splitlines()]


@pytest.mark.parametrize('method', ['rpn-focal', 'paper-nrpn'])
def test_refuses_a_model_without_an_nrpn_to_fold(run_tool, shapes, checkpoint, tmp_path, method):
    config = f'configs/nrpn/{method}_r18-w16_fpn_demo_shapes.py'
    done = run_tool(TOOL, config, checkpoint(config), '--out', tmp_path / 'fold.png', SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1 and 'holds no NRPNHead' in done.stderr and 'Traceback' not in done.stderr


def test_refuses_to_write_over_numbers_that_are_not_its_own(run_tool, tmp_path):
    """A figure and its numbers are written anew, numbers without a figure are of something else."""
    (tmp_path / 'model.pth').touch()
    (tmp_path / 'results.json').write_text('work of days')
    done = run_tool(TOOL, CONFIG, tmp_path / 'model.pth', '--out', tmp_path / 'results.png')
    assert done.returncode == 2 and f'{tmp_path}/results.json is there already' in done.stderr
    (tmp_path / 'results.png').touch()
    done = run_tool(TOOL, CONFIG, tmp_path / 'model.pth', '--out', tmp_path / 'results.png')
    assert done.returncode == 1 and 'model.pth cannot be read' in done.stderr


def test_a_detector_inside_is_swept_with_its_own_config(run_tool, shapes, checkpoint, tracker, tmp_path):
    state = torch.load(checkpoint(), weights_only=True)['state_dict']
    torch.save(dict(state_dict={f'detector.{key}': value for key, value in state.items()}), tmp_path / 'whole.pth')
    args = [tmp_path / 'whole.pth', '--folds', 0, '--out', tmp_path / 'fold.png']
    done = run_tool(TOOL, tracker, *args, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1 and f'{tracker}: model.type=' in done.stderr
    assert 'has its detector inside, in model.detector; give the same' in done.stderr
    done = run_tool(TOOL, CONFIG, *args, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
