"""The site builds without a warning, and what pages draw and tabulate is that of the code and of the results."""

import json
import re
import runpy
import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from benchmark.report import paired_difference

# the columns of a page's table
METRICS = ['AR@10', 'AR@100', 'AR@1000', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'FP@10', 'FP@100']


@pytest.fixture
def build(repo, tmp_path):
    """Build the site from a copy of what it is made of."""
    copy = tmp_path / 'copy'
    for name in ('docs', 'configs', 'mmdet_nrpn', '.dev_scripts'):
        shutil.copytree(repo / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('mkdocs.yml', 'README.md', 'CHANGELOG.md', 'CONTRIBUTING.md'):
        shutil.copy(repo / name, copy)

    def build():
        command = [sys.executable, '-m', 'mkdocs', 'build', '--strict']
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120)

    build.copy = copy
    return build


def test_builds_and_documents_every_public_name(build):
    import mmdet_nrpn

    done = build()
    assert done.returncode == 0, done.stderr
    api = (build.copy / 'site' / 'api' / 'index.html').read_text()
    for name in mmdet_nrpn.__all__:
        assert name.startswith('_') or f'id="mmdet_nrpn.{name}"' in api


def test_a_broken_link_fails(build):
    broken = {
        'README.md': ('docs/nowhere1.md', 'docs/method.md#nowhere2'),
        'docs/zoo.md': ('method.md#nowhere3', 'images/nowhere4.jpg'),
        'configs/nrpn/README.md': ('../../docs/nowhere5.md',),
    }
    for page, links in broken.items():
        path = build.copy / page
        path.write_text(path.read_text() + ''.join(f'\n\n[broken]({link})\n' for link in links))
    done = build()
    assert done.returncode != 0
    assert {*re.findall(r'nowhere\d', done.stderr)} == {f'nowhere{number}' for number in range(1, 6)}


def test_the_drawn_step_has_the_names_of_the_code(repo, tmp_path):
    runpy.run_path(str(repo / '.dev_scripts' / 'draw_training_step.py'))['draw'](tmp_path / 'step.svg')
    drawn, shipped = (
        re.findall(r'<text[^>]*>(.*?)</text>', path.read_text(), re.S)
        for path in (tmp_path / 'step.svg', repo / 'docs' / 'images' / 'training_step.svg')
    )
    assert drawn == shipped and len(drawn) > 10


@pytest.mark.parametrize('name', ['frontier', 'held_out', 'full_size', 'whole'])
def test_the_frontier_is_drawn_from_the_results(repo, tmp_path, monkeypatch, name):
    table, out = repo / 'docs' / 'results' / 'lab' / name, tmp_path / 'drawn.png'
    monkeypatch.setattr(sys, 'argv', ['draw_frontier.py', str(table), str(out)])
    runpy.run_path(str(repo / '.dev_scripts' / 'draw_frontier.py'), run_name='__main__')
    drawn, shipped = (plt.imread(path) for path in (out, repo / 'docs' / 'images' / f'{name}.png'))
    assert drawn.shape == shipped.shape and abs(drawn - shipped).mean() < 0.01


def test_results_are_kept_with_their_sweeps(repo, tmp_path, monkeypatch, capsys):
    work, out = tmp_path / 'work', tmp_path / 'kept'
    metrics = {'AR@10': 0.1, 'AR@100': 0.2, 'AR@1000': 1 / 3, 'FP@10': 0.4, 'FP@100': 0.5, 'ABO@10': 0.6}
    metrics.update({f'AR_{size}@100': 0.7 for size in 'sml'})
    for seed in (0, 1):
        (work / 'mine' / f'seed{seed}').mkdir(parents=True)
        (work / 'mine' / f'seed{seed}' / 'fold.json').write_text(json.dumps({'0': metrics, '0.5': metrics}))
    (work / 'table.md').write_text('the table')
    (work / 'runs.csv').write_text('name,seed')
    monkeypatch.setattr(sys, 'argv', ['keep_results.py', str(work), str(out)])
    runpy.run_path(str(repo / '.dev_scripts' / 'keep_results.py'), run_name='__main__')
    assert (out / 'table.md').read_text() == 'the table' and (out / 'runs.csv').read_text() == 'name,seed'
    lines = (out / 'fold.csv').read_text().splitlines()
    assert lines[1] == 'name,seed,fold,AR@10,AR@100,AR@1000,AR_s@100,AR_m@100,AR_l@100,FP@10,FP@100'
    assert lines[2:] == [
        f'mine,{seed},{fold},0.1,0.2,0.333333,0.7,0.7,0.7,0.4,0.5' for seed in (0, 1) for fold in ('0', '0.5')
    ]
    assert 'fold.csv of 2 sweeps' in capsys.readouterr().out


def test_files_that_are_named_are_there(repo):
    """As `tools/train.py`."""
    pattern = re.compile(r'`((?:docs|tools|configs|tests|mmdet_nrpn|requirements|\.dev_scripts)/[\w./-]+)`')
    pages = [repo / 'README.md', repo / 'CONTRIBUTING.md', repo / 'configs' / 'nrpn' / 'README.md']
    pages += (repo / 'docs').glob('*.md')
    named = {(page.name, path) for page in pages for path in pattern.findall(page.read_text())}
    assert len(named) > 20
    assert [(page, path) for page, path in named if not (repo / path).exists()] == []


def test_last_values_are_kept(repo, tmp_path, monkeypatch, capsys):
    logged = {'a/seed0': {'x/mAP': 0.25}, 'b-1': {'teacher/x/mAP': 0.5, 'student/x/mAP': 0.1, 'time': 3}}
    for folder, values in logged.items():
        log = tmp_path / 'work' / folder / '20260101' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text('{"loss": 1}\n' + json.dumps(values))
    tested = tmp_path / 'work' / 'b-10-1' / '20260102' / '20260102.json'
    tested.parent.mkdir(parents=True)
    tested.write_text('{"x/mAP": 0.75, "time": 3}')
    again = tmp_path / 'work' / 'a' / 'seed0' / '20260103' / 'vis_data' / 'scalars.json'  # and ended before its end
    again.parent.mkdir(parents=True)
    again.write_text('{"loss": 1}\n')
    out = tmp_path / 'new' / 'kept.csv'
    monkeypatch.setattr(sys, 'argv', ['keep_last_values.py', str(tmp_path / 'work'), str(out), 'mAP'])
    runpy.run_path(str(repo / '.dev_scripts' / 'keep_last_values.py'), run_name='__main__')
    assert out.read_text() == 'name,seed,mAP\na,0,0.25\nb,1,0.5\nb-10,1,0.75\n'
    assert '| `b` | 1 | 50.0 |' in capsys.readouterr().out


def test_without_a_run_that_ended_nothing_is_kept(repo, tmp_path, monkeypatch):
    out = tmp_path / 'kept.csv'
    monkeypatch.setattr(sys, 'argv', ['keep_last_values.py', str(tmp_path / 'work'), str(out), 'mAP'])
    with pytest.raises(SystemExit, match='work has no run that ended'):
        runpy.run_path(str(repo / '.dev_scripts' / 'keep_last_values.py'), run_name='__main__')
    assert not out.exists()


@pytest.mark.parametrize(
    'page, kept',
    [
        ('tracking.md', 'tracking.csv'),
        ('partly_labelled.md', 'teachers.csv'),
        ('detectors.md', 'lab/detectors.csv'),
        ('detectors.md', 'detectors.csv'),
        ('full_size.md', 'lab/full_size/detectors.csv'),
        ('full_size.md', 'lab/full_size/detectors_rpn.csv'),
    ],
)
def test_a_pages_table_is_made_from_its_values(repo, page, kept):
    text = (repo / 'docs' / page).read_text()
    assert f'(results/{kept})' in text
    values = pd.read_csv(repo / 'docs' / 'results' / kept, index_col=['name', 'seed'])
    table = runpy.run_path(str(repo / '.dev_scripts' / 'keep_last_values.py'))['table']
    assert table(values) in text, f'write this into {page}:\n{table(values)}'


@pytest.mark.parametrize(
    'page, start, kept, num, metrics',
    [
        ('partly_labelled.md', '## Ignored regions', 'partly', 4, 4),
        ('shapes.md', '## Many lookalikes', 'hard_shapes', 3, 4),
        ('../README.md', '', 'lab/held_out', 4, 5),
        ('loss_weights.md', '## In the laboratory', 'lab/sgd', 3, 5),
        ('loss_weights.md', '## With AdamW', 'lab/weights', 5, 5),
        ('whole.md', '', 'lab/whole', 5, 8),
    ],
)
def test_a_pages_rows_are_those_of_the_benchmarks_table(repo, page, start, kept, num, metrics):
    text = (repo / 'docs' / page).read_text()
    section = text[text.index(start) :].partition('\n## ')[0] if start else text
    rows = re.findall(r'^\| (?:stock|`(?:paper-)?n?rpn).*±.*\|$', section, re.M)
    table = (repo / 'docs' / 'results' / kept / 'table.md').read_text()
    shown = [re.findall(r'[\d.]+ ± [\d.]+', row) for row in rows]
    assert len(shown) == num and all(len(cells) == metrics for cells in shown)
    for cells in shown:
        assert re.search(' .*'.join(map(re.escape, cells)), table), cells


def test_the_full_sizes_rows_are_those_of_its_runs(repo):
    text = (repo / 'docs' / 'full_size.md').read_text().partition('\n## ')[0]
    rows = re.findall(r'^\| `([\w-]+)`.*?((?: \| [\d.]+){8}) \|$', text, re.M)
    runs = pd.read_csv(repo / 'docs' / 'results' / 'lab' / 'full_size' / 'runs.csv', comment='#', index_col='name')
    runs = 100 * runs[METRICS]
    assert {name for name, _ in rows} == set(runs.index)
    for name, cells in rows:
        assert cells == ''.join(f' | {value:.1f}' for value in runs.loc[name]), name


def test_the_second_stages_start_is_that_of_the_runs(repo):
    rows = re.findall(r'^\| `([\w-]+)`((?: \| 0\.\d{3}){6}) \|$', (repo / 'docs' / 'full_size.md').read_text(), re.M)
    kept = repo / 'docs' / 'results' / 'lab' / 'full_size' / 'detectors_start.csv'
    losses = pd.read_csv(kept, index_col=['name', 'seed', 'step']).loss_bbox
    assert len(rows) == 5
    for name, cells in rows:
        assert cells == ''.join(f' | {loss:.3f}' for loss in losses.loc[name, 1]), name


@pytest.mark.parametrize(
    'page, start, kept, num',
    [
        ('frontier.md', '## Held out', 'held_out', 5),
        ('frontier.md', '## Tuned', 'frontier', 4),
        ('whole.md', '', 'whole', 6),
    ],
)
def test_differences_are_those_of_the_runs(repo, page, start, kept, num):
    text = (repo / 'docs' / page).read_text()
    rows = re.findall(r'\(`(.+?)` - `(.+?)`.*?\) \| (.*) \|$', text[text.index(start) :].split('\n## ')[0], re.M)
    runs = pd.read_csv(repo / 'docs' / 'results' / 'lab' / kept / 'runs.csv', comment='#', index_col=['name', 'seed'])
    runs = 100 * runs[METRICS]
    assert len(rows) == num
    for name, other, cells in rows:
        seeds = runs.loc[name].index.intersection(runs.loc[other].index)
        ours, theirs = runs.loc[name].loc[seeds], runs.loc[other].loc[seeds]
        differences = [paired_difference(ours[metric].to_list(), theirs[metric].to_list()) for metric in runs]
        assert cells == ' | '.join(f'{mean:+.1f} ± {half:.1f}' for mean, half in differences), (name, other)


@pytest.mark.parametrize(
    'page, start, row, num', [('frontier.md', '## The dial', 'nrpn-focal', 3), ('finished_rpn.md', '## What', None, 9)]
)
def test_what_a_fold_changes_is_that_of_the_sweeps(repo, page, start, row, num):
    text = (repo / 'docs' / page).read_text()
    rows = re.findall(r'^\| (?:`(.+?)` \| )?([\d.]+) \| (.*) \|$', text[text.index(start) :].split('\n## ')[0], re.M)
    folds = pd.read_csv(repo / 'docs/results/lab/held_out/fold.csv', comment='#', index_col=['name', 'fold', 'seed'])
    sizes = [f'AR_{size}@100' for size in 'sml']
    assert len(rows) == num
    for name, fold, cells in rows:
        of_row = 100 * (folds if cells.count('|') == 7 else folds.drop(columns=sizes)).loc[name or row]
        with_fold, without = of_row.loc[float(fold)], of_row.loc[0.0]
        differences = [paired_difference(with_fold[key].to_list(), without[key].to_list()) for key in of_row]
        assert cells == ' | '.join(f'{mean:+.1f} ± {half:.1f}' for mean, half in differences), (name, fold)
