"""The experiments that wait for a GPU still start: their rows, and one of them in two steps on a CPU."""

import json
import math
import runpy
import tarfile

import pandas as pd
import pytest
import torch
from benchmark.runs import rows_of_file

TOOL = 'lab/scripts/on_a_gpu.py'


@pytest.fixture
def jobs(repo):
    return runpy.run_path(str(repo / TOOL))


@pytest.mark.parametrize('job', ['detectors', 'rpns', 'cascade'])
def test_rows_are_found_from_anywhere_and_can_go_on(jobs, job, tmp_path):
    file, names, *_ = jobs['JOBS'][job]
    (tmp_path / 'rows.json').write_text(json.dumps(jobs['rows_of'](file, names)))
    rows = rows_of_file(tmp_path / 'rows.json')
    assert [row.name for row in rows] == names
    for row in rows:
        assert row.cfg.optim_wrapper.type == 'AmpOptimWrapper' and row.cfg.default_hooks.checkpoint.interval == 1
        steps = math.ceil(2500 / row.cfg.train_dataloader.batch_size) * row.cfg.train_cfg.max_epochs
        assert row.cfg.param_scheduler[1].end == steps


def test_the_papers_samples_alone_have_stocks_losses(jobs, tmp_path):
    names = ['rpn', 'paper-nrpn', 'paper-nrpn-overlap']
    (tmp_path / 'rows.json').write_text(json.dumps(jobs['rows_of']('full_size.json', names)))
    stock, samples, full = (row.cfg.model for row in rows_of_file(tmp_path / 'rows.json'))
    assert samples.rpn_head.loss_cls == stock.rpn_head.loss_cls != full.rpn_head.loss_cls
    assert samples.train_cfg == full.train_cfg != stock.train_cfg


def test_each_finished_detector_is_measured_twice_more(jobs, tmp_path, monkeypatch):
    for seed in (1, 2):
        folder = tmp_path / 'trained' / 'nrpn' / f'seed{seed}'
        folder.mkdir(parents=True)
        (folder / 'last_checkpoint').write_text(f'{seed}.pth\n')
        if seed == 2:
            (folder / 'result.json').touch()
    measure, asked = jobs['measure_detectors'], []
    monkeypatch.setitem(measure.__globals__, 'run', lambda *command, end: asked.append(command))
    rows = jobs['rows_of']('detectors_r50.json', ['stock', 'nrpn'])
    measure(tmp_path / 'trained', tmp_path / 'measured', rows, [1, 2], end=0)
    (command,) = asked
    assert command[command.index('--checkpoints') + 1 :] == ('2.pth', '2.pth')
    scored, rpn = rows_of_file(tmp_path / 'measured' / 'rows.json')
    assert scored.cfg.model.roi_head.type == 'ObjectnessRoIHead' and len(scored.cfg.val_evaluator) == 2
    assert rpn.cfg.model.type == 'RPN' and [part.type for part in rpn.cfg.val_evaluator] == ['ProposalMetric']


def test_what_was_carried_along_is_put_in_place(jobs, tmp_path, monkeypatch):
    carried, place = tmp_path / '.gpu', tmp_path / 'place'
    for number, name in enumerate(['VOCdevkit/list.txt', 'r50.pth']):
        file = carried / str(number) / name
        file.parent.mkdir(parents=True)
        file.write_text(name)
    with tarfile.open(carried / '0' / 'part.tar', 'w') as tar:
        tar.add(carried / '0' / 'VOCdevkit', 'VOCdevkit')
    unpack = jobs['unpack']
    monkeypatch.setitem(unpack.__globals__, 'ROOT', tmp_path)
    monkeypatch.setitem(unpack.__globals__, 'PLACE', place)
    unpack()
    assert (place / 'VOCdevkit' / 'list.txt').exists() and (place / 'r50_caffe.pth').read_text() == 'r50.pth'


def test_what_is_timed_is_there(repo, jobs):
    assert all((repo / path).exists() for paths in jobs['TIMED'].values() for path in paths)


@pytest.mark.slow
def test_two_steps_on_a_cpu(run_tool, voc, tmp_path):
    torch.save({}, tmp_path / 'none.pth')
    places = dict(OUT=tmp_path, VOC_ROOT=f'{voc.parent}/', VOC_VAL='val', R50_CAFFE=tmp_path / 'none.pth')
    done = run_tool(TOOL, 'rpns', '--rows', 'paper-nrpn', '--seeds', '1', STEPS=2, **places)
    assert done.returncode == 0, done.stderr[-3000:]
    with tarfile.open(tmp_path / 'rpns.tar.gz') as kept:
        runs = pd.read_csv(kept.extractfile('trained/runs.csv'), comment='#', index_col='name')
        assert not [name for name in kept.getnames() if name.endswith('.pth')]
    assert 0 <= runs.loc['paper-nrpn', 'AR@1000'] <= 1
