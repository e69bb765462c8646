import json

import numpy as np
import pytest
from scipy import stats

from mmdet_nrpn.benchmark import Run, report
from mmdet_nrpn.benchmark.report import paired_difference, summarise

KEYS = ('AR@10', 'AR@100', 'AR@1000', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'FP@10', 'FP@100')


@pytest.fixture
def finished(repo, tmp_path):
    """Runs of two configs over seeds with made-up results; a missing value is a failed run."""

    def make(table):
        runs = []
        for name, values in table.items():
            for seed, value in enumerate(values):
                run = Run(repo / 'configs' / 'nrpn' / f'{name}.py', seed, tmp_path)
                runs.append(run)
                if value is None:
                    continue
                run.prepare()
                metrics = {key: value for key in KEYS}
                curves = dict(
                    metrics=metrics,
                    proposal_nums=[10, 100, 1000],
                    iou_thrs=[0.5, 0.7],
                    recall=np.full((2, 4, 3), value).tolist(),
                    false_share=[value] * 3,
                )
                (run.folder / 'proposals.json').write_text(json.dumps(curves))
                result = dict(
                    metrics=metrics, step_seconds=0.5, peak_memory_mib=100, seed=seed, environment=dict(commit='abc')
                )
                run.result_file.write_text(json.dumps(result))
        return runs

    return make


STOCK, OURS = 'rpn_r18-w16_fpn_demo_shapes', 'nrpn_r18-w16_fpn_demo_shapes'


def test_paired_difference_is_the_paired_t_test():
    ours, stock = [0.31, 0.35, 0.30, 0.41], [0.30, 0.31, 0.31, 0.35]
    mean, half = paired_difference(ours, stock)
    interval = stats.ttest_rel(ours, stock).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((interval.low, interval.high))


def test_rows_are_means_over_seeds_and_differences_are_paired(finished):
    stock, ours = summarise(finished({STOCK: [0.2, 0.4], OURS: [0.3, 0.6]}))
    assert stock['AR@100'] == pytest.approx((0.3, 0.2 / np.sqrt(2)))
    assert ours['difference AR@100'][0] == pytest.approx(0.15)
    assert stock['difference AR@100'] == pytest.approx((0, 0))


def test_a_failed_run_is_reported_and_its_seed_is_not_paired(finished, tmp_path):
    runs = finished({STOCK: [0.2, None, 0.4], OURS: [0.3, 0.9, 0.6]})
    stock, ours = summarise(runs)
    assert stock['failed'] == [1] and ours['failed'] == []
    assert ours['difference AR@100'][0] == pytest.approx(0.15)
    assert 'seeds [1] failed' in report(runs, tmp_path, {})


def test_everything_is_written(finished, tmp_path):
    text = report(finished({STOCK: [0.2], OURS: [0.3]}), tmp_path, dict(commit='abc'))
    assert '+10.0' in text and 'none from one seed' in text
    assert '| rpn | 20.0 |' in (tmp_path / 'table.md').read_text()
    assert '- commit: `abc`' in (tmp_path / 'table.md').read_text()
    assert json.loads((tmp_path / 'results.json').read_text())['environment'] == dict(commit='abc')
    assert (tmp_path / 'recall.png').read_bytes().startswith(b'\x89PNG')


def test_results_of_several_commits_say_so(finished, tmp_path):
    runs = finished({STOCK: [0.2], OURS: [0.3]})
    result = runs[1].result()
    runs[1].result_file.write_text(json.dumps({**result, 'environment': dict(commit='def')}))
    report(runs, tmp_path, dict(commit='now'))
    assert '`abc, def`' in (tmp_path / 'table.md').read_text()


def test_a_size_without_objects_is_a_dash(finished, tmp_path):
    runs = finished({STOCK: [0.2], OURS: [0.3]})
    for run in runs:
        result = run.result()
        result['metrics']['AR_s@100'] = -1.0
        run.result_file.write_text(json.dumps(result))
    assert '-100' not in report(runs, tmp_path, {})


def test_a_run_of_another_config_is_moved_aside(repo, tmp_path, monkeypatch):
    config = repo / 'configs' / 'nrpn' / f'{STOCK}.py'
    run = Run(config, 0, tmp_path)
    assert not run.is_finished()
    run.prepare()
    run.result_file.write_text('{}')
    assert Run(config, 0, tmp_path).is_finished()
    monkeypatch.setenv('SHAPES_ROOT', 'other/')
    changed = Run(config, 0, tmp_path)
    assert not changed.is_finished()
    changed.prepare()
    assert (run.folder.with_suffix('.old1') / 'result.json').exists()


def test_another_checkpoint_of_the_same_name_is_another_run(repo, tmp_path):
    config, path = repo / 'configs' / 'nrpn' / f'{STOCK}.py', tmp_path / 'epoch_12.pth'
    path.write_bytes(b'one')
    run = Run(config, 0, tmp_path, path)
    run.prepare()
    run.result_file.write_text('{}')
    assert Run(config, 0, tmp_path, path).is_finished()
    path.write_bytes(b'another')
    assert not Run(config, 0, tmp_path, path).is_finished()


def test_the_run_measures_with_proposal_metric_and_its_seed(repo, tmp_path):
    stock = Run(repo / 'configs' / 'nrpn' / f'{STOCK}.py', 3, tmp_path)
    stock.prepare()
    text = stock.config_file.read_text()
    assert "type='ProposalMetric'" in text and 'seed=3' in text and "'mmdet_nrpn'" in text
