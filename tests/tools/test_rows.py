"""Rows of a file, and what becomes of a row's config before it is run."""

import fcntl
import json
import os

import pytest
from benchmark.runs import Row, Run, rows_of_configs, rows_of_file
from mmdet.evaluation import CocoMetric
from mmdet.registry import HOOKS, METRICS, VISBACKENDS
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.visualization import LocalVisBackend

from mmdet_nrpn import ProposalMetric

STOCK = 'rpn_r18-w16_fpn_demo_shapes'
PURE_PYTHON = """
from mmdet.models import RPN
from mmdet.evaluation import CocoMetric
from mmengine.hooks import CheckpointHook
from mmengine.visualization import LocalVisBackend
default_scope = None
model = dict(type=RPN)
custom_hooks = [dict(type=CheckpointHook, out_dir='shared')]
visualizer = dict(vis_backends=[dict(type=LocalVisBackend)])
val_evaluator = dict(type=CocoMetric)
"""


@pytest.fixture
def rows_of(repo, tmp_path):
    """The rows of a file with this content, where ``{configs}`` is the folder of configs relative to it."""

    def rows(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / 'rows.json').write_text(text.replace('{configs}', os.path.relpath(repo / 'configs/nrpn', tmp_path)))
        return rows_of_file(tmp_path / 'rows.json')

    return rows


def test_rows_of_a_file_are_configs_and_what_is_changed_in_them(rows_of, repo):
    stock, half = rows_of(
        {
            '*': {'train_cfg.max_iters': 3, 'train_dataloader.batch_size': 2, 'load_from': 'a.pth'},
            'stock': {'config': f'{{configs}}/{STOCK}.py'},
            'half': {
                'config': '{configs}/paper-nrpn_r18-w16_fpn_demo_shapes.py',
                'model.train_cfg.rpn.sampler.hard_fraction': 0.5,
                'train_dataloader.batch_size': 4,
            },
        }
    )
    assert (stock.name, half.name) == ('stock', 'half')
    assert stock.source.resolve() == repo / 'configs' / 'nrpn' / f'{STOCK}.py'
    assert stock.cfg.train_cfg.max_iters == half.cfg.train_cfg.max_iters == 3
    assert stock.cfg.load_from == 'a.pth'  # in no config, and known to the runner
    assert half.cfg.model.train_cfg.rpn.sampler.hard_fraction == 0.5
    assert [row.cfg.train_dataloader.batch_size for row in (stock, half)] == [2, 4]


GOOD = f'{{configs}}/{STOCK}.py'


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ({'mine': {'config': 'nowhere.py'}}, "row 'mine': config .*nowhere.py is not there"),
        ({'mine': {}}, "row 'mine': config .* is not there"),
        ({'mine': {'config': __file__}}, "row 'mine': .*test_rows.py"),
        ({'mine': {'config': GOOD, 'param_scheduler.9.end': 5}}, "row 'mine': KeyError"),
        ({'mine': {'config': GOOD, 'modle.rpn_head.type': 'RPNHead'}}, "row 'mine': modle.rpn_head.type would change"),
        ({'a/b': {'config': GOOD}}, "row 'a/b': .* without '/'"),
        ({'..': {'config': GOOD}}, "row '..': .* without '/'"),
        ({}, 'has no row'),
        ({'*': {'train_cfg.max_iters': 3}}, 'has no row'),
        ('{"mine": ', 'is no JSON of'),
        ([], 'is no JSON of'),
        ({'mine': 'a.py'}, 'is no JSON of'),
    ],
)
def test_a_file_that_cannot_be_meant_is_told(rows_of, content, said):
    with pytest.raises(ValueError, match=f'rows.json:? .*{said}|rows.json: {said}'):
        rows_of(content)


@pytest.fixture
def run_of(repo, tmp_path):
    """The run of the stock demo config with some lines more."""

    def run(lines='', checkpoint=None):
        (tmp_path / 'mine.py').write_text(f"_base_ = ['{repo}/configs/nrpn/{STOCK}.py']\n{lines}\n")
        return Run(rows_of_configs([tmp_path / 'mine.py'])[0], 3, tmp_path / 'work', checkpoint)

    return run


def test_all_that_is_written_goes_to_the_runs_folder(run_of):
    cfg = run_of("""
default_hooks = dict(checkpoint=dict(out_dir='shared'), logger=dict(out_dir='shared'))
custom_hooks = [
    dict(type='MyHook', log_dir='shared', path='of/input', inner=[dict(save_path='shared/a.txt')]),
    dict(type='ProfilerHook', on_trace_ready=dict(type='tb_trace', dir_name='shared'), json_trace_path='shared/b.json'),
]
visualizer = dict(save_dir='shared', vis_backends=[dict(type='TensorboardVisBackend', save_dir='shared')])
val_evaluator = dict(_delete_=True, type='CocoMetric', outfile_prefix='shared/test', ann_file='of/input')
""")
    folder = str(cfg.folder)
    cfg = cfg.cfg
    assert 'shared' not in cfg.pretty_text.replace(folder, '')
    assert cfg.default_hooks.checkpoint.out_dir == cfg.default_hooks.logger.out_dir == folder
    mine, profiler = cfg.custom_hooks[:2]
    assert (profiler.on_trace_ready.dir_name, profiler.json_trace_path) == (folder, f'{folder}/b.json')
    assert (mine.log_dir, mine.path, mine.inner[0].save_path) == (folder, 'of/input', f'{folder}/a.txt')
    assert cfg.visualizer.vis_backends == [dict(type='TensorboardVisBackend')]  # beside the log
    assert cfg.val_evaluator[0].outfile_prefix == f'{folder}/test' and cfg.val_evaluator[0].ann_file == 'of/input'


@pytest.mark.parametrize(
    ('given', 'kept'),
    [
        ("dict(type='CocoMetric', metric='bbox')", ['CocoMetric']),
        ("[dict(type='ProposalMetric', iou_thrs=0.5), dict(type='VOCMetric', metric='mAP')]", ['VOCMetric']),
        ("dict(type='CocoMetric', metric='proposal_fast')", []),
        ("dict(type='CocoMetric', metric=['proposal'])", []),
        ("dict(metrics=[dict(type='VOCMetric', metric='mAP')])", ['VOCMetric']),
        ("dict(type='mmengine.Evaluator', metrics=[dict(type='VOCMetric')])", ['VOCMetric']),
        ('None', []),
    ],
)
def test_evaluators_of_the_config_stay_beside_proposal_metric(run_of, given, kept):
    delete = given.replace('dict(', 'dict(_delete_=True, ', 1) if given.startswith('dict') else given
    cfg = run_of(f'val_evaluator = {delete}').cfg
    given = [evaluator.type for evaluator in cfg.val_evaluator if evaluator.type not in ('CocoMetric', 'VOCMetric')]
    assert given == ['mmdet.ProposalMetric']
    assert [evaluator.type for evaluator in cfg.val_evaluator][:-1] == kept


@pytest.mark.parametrize(
    'lines, said',
    [
        (
            "val_evaluator = dict(_delete_=True, type='MultiDatasetsEvaluator', metrics=[])",
            "'MultiDatasetsEvaluator' takes",
        ),
        (
            "param_scheduler = [dict(type='ReduceOnPlateauLR', monitor='loss')]",
            'param_scheduler: ReduceOnPlateauLR acts on',
        ),
        ("custom_hooks = [dict(type='EarlyStoppingHook', monitor='loss')]", 'custom_hooks: EarlyStoppingHook acts on'),
        (
            "default_hooks = dict(stop=dict(type='EarlyStoppingHook', monitor='loss'))",
            'default_hooks: EarlyStoppingHook',
        ),
    ],
)
def test_what_a_run_would_leave_out_is_refused(run_of, lines, said):
    run = run_of(lines)
    with pytest.raises(ValueError, match=f'mine.py: .*{said}'):
        assert run.cfg


def test_a_trackers_own_evaluators_are_all(tracker, tmp_path):
    cfg = Run(rows_of_configs([tracker])[0], 0, tmp_path).cfg
    assert [evaluator.type for evaluator in cfg.val_evaluator] == ['CocoVideoMetric', 'MOTChallengeMetric']


@pytest.mark.parametrize('given', [['z', 'a'], ['mmdet_nrpn', 'a'], 'a', None])
def test_imports_keep_their_order(tmp_path, given):
    imports = given and dict(imports=given, allow_failed_imports=given == 'a')
    run = Run(Row('mine', tmp_path / 'mine.py', Config(dict(model={}, custom_imports=imports))), 0, tmp_path)
    names = [given] if isinstance(given, str) else given or []
    names = names if 'mmdet_nrpn' in names else [*names, 'mmdet_nrpn']
    assert run.cfg.custom_imports == dict(imports=names, allow_failed_imports=given == 'a')


def test_a_config_without_a_default_scope(tmp_path):
    """Pure-Python configs have ``default_scope=None``, where a name needs a scope."""
    (tmp_path / 'mine.py').write_text(PURE_PYTHON)
    run = Run(rows_of_configs([tmp_path / 'mine.py'])[0], 0, tmp_path / 'work')
    run.prepare()
    read = Config.fromfile(run.config_file)
    assert read.default_scope is None
    first, *others = read.custom_hooks
    assert HOOKS.get(first.type) is CheckpointHook and first.out_dir == str(run.folder)
    assert all(hook.type.startswith('mmdet.') for hook in others)
    assert VISBACKENDS.get(read.visualizer.vis_backends[0].type) is LocalVisBackend
    kinds = [METRICS.get(evaluator.type) for evaluator in read.val_evaluator]
    assert kinds == [CocoMetric, ProposalMetric]


def test_all_else_that_a_config_says_of_randomness_stays(run_of):
    assert run_of('randomness = dict(seed=7, deterministic=True)').cfg.randomness == dict(seed=3, deterministic=True)


def finish(run):
    run.prepare()
    run.folder.mkdir()
    (run.folder / 'result.json').write_text('{}')


def test_a_run_of_another_config_is_moved_aside(run_of):
    assert not run_of().is_finished()
    finish(run_of())
    changed = run_of('load_from = None\ntrain_cfg = dict(max_iters=7)')
    assert not changed.is_finished()
    changed.prepare()
    assert (changed.folder.with_suffix('.old1') / 'result.json').exists()
    changed.folder.mkdir()
    assert not run_of().is_finished()


def test_a_run_that_is_under_way_is_left_alone(run_of):
    run = run_of()
    finish(run)
    with open(run.folder.with_suffix('.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        run.prepare()  # as it was: there is nothing to move
        with pytest.raises(SystemExit, match='seed3 is being run by another process'):
            run_of('train_cfg = dict(max_iters=7)').prepare()
    assert run_of().is_finished()


def test_another_checkpoint_of_the_same_name_is_another_run(run_of, tmp_path):
    path = tmp_path / 'epoch_12.pth'
    path.write_bytes(b'one')
    finish(run_of(checkpoint=path))
    assert run_of(checkpoint=path).is_finished() and not run_of().is_finished()
    path.write_bytes(b'another')
    assert not run_of(checkpoint=path).is_finished()
