import csv
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from benchmark.config_hash import config_hash
from benchmark.execute import DIVERGED, scalars, train
from benchmark.report import paired_difference, report, table
from mmdet.engine.hooks import CheckInvalidLossHook
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.visualization import Visualizer
from scipy import stats

KEYS = ('AR@10', 'AR@100', 'AR@1000', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'FP@10', 'FP@100')
KEYS += ('recall@10@0.5', 'recall@100@0.5', 'recall@10@0.7', 'recall@100@0.7')
STOCK, OURS = 'rpn_r18-w16_fpn_demo_shapes', 'paper-nrpn_r18-w16_fpn_demo_shapes'


@pytest.fixture
def finished(tmp_path):
    """Results of two configs over seeds in a folder; a missing value is a run without a result.

    Returns the name and seed of each run, the baseline's first.
    """

    def make(table, **more):
        for name, values in table.items():
            for seed, value in [item for item in enumerate(values) if item[1] is not None]:
                folder = tmp_path / name / f'seed{seed}'
                folder.mkdir(parents=True)
                result = dict(
                    config=f'{name}.py', step_seconds=0.5, peak_memory_mib=100, seed=seed,
                    environment=dict(commit='abc', torch='2'), metrics={f'proposal/{key}': value for key in KEYS},
                )  # fmt: skip
                (folder.parent / f'seed{seed}.py').write_text(f'model = dict(type={name!r})')
                (folder / 'result.json').write_text(json.dumps({**result, **more}))
        return [(name, seed) for name, values in table.items() for seed in range(len(values))]

    return make


@pytest.fixture
def table_of(tmp_path):
    """The table's cells by row and column, made anew from the CSV alone, and what is said for a terminal."""

    def make(asked, command=''):
        said = report(tmp_path, asked, command)
        return table(pd.read_csv(tmp_path / 'runs.csv', comment='#'), asked), said

    return make


def test_paired_difference_is_the_paired_t_test():
    ours, stock = [0.31, 0.35, 0.30, 0.41], [0.30, 0.31, 0.31, 0.35]
    mean, half = paired_difference(ours, stock)
    interval = stats.ttest_rel(ours, stock).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((interval.low, interval.high))


def test_rows_are_means_over_seeds_and_differences_are_paired(finished, table_of):
    cells, said = table_of(finished({STOCK: [0.2, 0.4], OURS: [0.3, 0.6]}))
    assert cells.loc['rpn', 'AR@100'] == f'30.0 ± {20 / np.sqrt(2):.1f}' and cells.loc['rpn', 's/step'] == '0.50'
    assert cells.loc['paper-nrpn, difference', 'AR@100'] == '+15.0 ± 63.5'  # t = 12.706, sd = 7.07
    assert cells.to_string() in said


def test_a_run_without_a_result_is_reported_and_its_seed_is_not_paired(finished, table_of):
    cells, _ = table_of(finished({STOCK: [0.2, None, 0.4], OURS: [0.3, 0.9, 0.6]}))
    assert list(cells.index) == ['rpn', 'rpn: seeds [1] missing', 'paper-nrpn', 'paper-nrpn, difference']
    assert cells.loc['paper-nrpn, difference', 'AR@100'] == '+15.0 ± 63.5'


def test_every_result_in_the_folder_is_in_the_table(finished, table_of, tmp_path):
    finished({OURS: [0.3, 0.6], STOCK: [0.2, 0.4], 'nrpn-half_x': [0.5]})
    (tmp_path / OURS / 'seed1').rename(tmp_path / OURS / 'seed1.old1')  # of another config
    cells, _ = table_of([(STOCK, 0)])
    assert list(cells.index[:3]) == ['rpn', 'nrpn-half', 'paper-nrpn']
    assert cells.loc['paper-nrpn, difference', 'AR@100'] == '+10.0'


def test_everything_is_written(finished, table_of, tmp_path):
    _, said = table_of(finished({STOCK: [0.2], OURS: [0.3]}), 'python tools/benchmark')
    assert '+10.0' in said and 'none from one seed' in said
    lines = (tmp_path / 'runs.csv').read_text(encoding='utf-8').splitlines()
    runs = [*csv.DictReader(line for line in lines if not line.startswith('#'))]
    written = [[run[key] for key in ('name', 'seed', 'commit', 'AR@100')] for run in runs]
    assert written == [[STOCK, '0', 'abc', '0.2'], [OURS, '0', 'abc', '0.3']]
    assert lines[:2] == ['# command: python tools/benchmark', '# torch: 2']
    assert len({run['config_hash'] for run in runs}) == 2 and all(len(run['config_hash']) == 12 for run in runs)
    assert (tmp_path / 'recall.png').read_bytes().startswith(b'\x89PNG')


def test_own_evaluators_are_in_the_table_and_where_a_row_has_none_there_is_a_dash(finished, table_of):
    """mAP of two rows and HOTA of one; AP by size and FROC by class are in the CSV alone."""
    metrics = {'coco/bbox_mAP': 0.4, 'coco/bbox_mAP_s': 0.1, 'pascal_voc/AP50': 0.5, 'froc/LAMR': 0.3}
    metrics.update({'froc/dog_LAMR': 0.2, 'froc/FPPI@0.5': 0.2, 'froc/LAMR@IoU0.75': 0.4})
    asked = finished({STOCK: [0.2, 0.2]}, metrics=metrics)
    metrics = {'coco/bbox_mAP': 0.5, 'motchallenge-metric/HOTA': 0.6}
    cells, _ = table_of(asked + finished({OURS: [0.2, 0.2]}, metrics=metrics))
    assert list(cells.columns[:-2]) == [
        'coco/bbox_mAP',
        'pascal_voc/AP50',
        'froc/LAMR',
        'froc/LAMR@IoU0.75',
        'motchallenge-metric/HOTA',
    ]
    assert list(cells.loc['rpn'][:5]) == ['40.0 ± 0.0', '50.0 ± 0.0', '30.0 ± 0.0', '40.0 ± 0.0', '-']
    assert list(cells.loc['paper-nrpn, difference'][:3]) == ['+10.0 ± 0.0', '-', '-']


def test_results_of_several_commits_and_versions_say_so(finished, table_of, tmp_path):
    asked = finished({STOCK: [0.2]}) + finished({OURS: [0.3]}, environment=dict(commit='def', torch='3'))
    table_of(asked)
    text = (tmp_path / 'runs.csv').read_text(encoding='utf-8')
    assert '# torch: 2, 3' in text and ',abc,' in text and ',def,' in text


def test_a_size_without_objects_is_a_dash(finished, table_of):
    metrics = {**{f'proposal/{key}': 0.3 for key in KEYS}, 'proposal/AR_s@100': -1.0}
    asked = finished({STOCK: [0.2, 0.2], OURS: [None, 0.3]}, metrics=metrics) + finished({OURS: [0.3]})
    assert set(table_of(asked)[0]['AR small']) == {'-'}


def test_negative_measures_of_a_tracker_are_measures(finished, table_of):
    asked = finished({STOCK: [0.2, 0.2]}, metrics={'motchallenge-metric/MOTA': -0.05})
    cells, _ = table_of(asked + finished({OURS: [0.2, 0.2]}, metrics={'motchallenge-metric/MOTA': 0.1}))
    assert list(cells['motchallenge-metric/MOTA']) == ['-5.0 ± 0.0', '10.0 ± 0.0', '+15.0 ± 0.0']


def test_a_line_of_the_log_that_was_cut_short_or_is_of_no_training_is_passed_over(tmp_path):
    log = tmp_path / '20260101_100000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    first = '{"time": 9.0, "step": 0}\n{"lr": 0.1, "time": 1.0, "step": 1}'
    log.write_text(first + '\n{"lr": 0.1, "ti{"lr": 0.1, "time": 3.0, "step": 3}\n{"lr"')
    assert scalars(tmp_path, 'time') == [1.0]


def test_the_hash_is_of_all_that_is_trained():
    """Also of what a config may have beside its model, data and schedule; what tables there are keep their hashes."""
    same = (
        {},
        dict(custom_hooks=[dict(type='mmdet.StepSeedHook'), dict(type='FlushDenormals')], load_from=None),
        dict(custom_hooks=None, auto_scale_lr=dict(enable=False, base_batch_size=2)),
    )
    others = (
        dict(custom_hooks=[dict(type='EMAHook', momentum=0.1)]),
        dict(custom_hooks=[dict(type='EMAHook', momentum=0.2)]),
        dict(load_from='a.pth'),
        dict(auto_scale_lr=dict(enable=True, base_batch_size=16)),
    )
    *hashes, elsewhere, from_a, _ = (
        config_hash(Config(dict(more, model=dict(type='RPN'))))
        for more in (*same, *others[:2], dict(load_from='elsewhere/a.pth'), *others[2:])
    )
    assert set(hashes[: len(same)]) == {'7c04e7485446'} and elsewhere == from_a
    assert len({*hashes, from_a, _}) == 1 + len(others)


@pytest.mark.parametrize('hook', [CheckInvalidLossHook(interval=1), None])
def test_a_training_that_ends_with_nan_says_what_to_change(tmp_path, monkeypatch, hook):
    def fail():
        if hook:
            hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(float('nan'))))
        raise AssertionError  # without words, as the hook's

    log = SimpleNamespace(info=lambda text: None)
    runner = SimpleNamespace(train=fail, logger=log, iter=0, visualizer=Visualizer())
    monkeypatch.setattr(RUNNERS, 'build', lambda cfg: runner)
    with pytest.raises(SystemExit if hook else AssertionError) as ended:
        train(Config(dict(work_dir=str(tmp_path))))
    assert str(ended.value) == (DIVERGED if hook else '')
