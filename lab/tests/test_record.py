"""The figures and tables of the pages in lab are those of the results."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmark.report import paired_difference
from PIL import Image

HIDDEN = sorted((Path(__file__).parents[1] / 'results' / 'hidden').glob('*.csv'))
# the columns of a page's table
METRICS = ['AR@10', 'AR@100', 'AR@1000', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'FP@10', 'FP@100']


@pytest.mark.parametrize('name', ['frontier', 'held_out', 'full_size', 'whole'])
def test_the_frontier_is_drawn_from_the_results(repo, tmp_path, monkeypatch, name):
    out = tmp_path / 'drawn.png'
    monkeypatch.setattr(sys, 'argv', ['draw_frontier.py', name, str(out)])
    runpy.run_path(str(repo / 'lab' / 'scripts' / 'draw_frontier.py'), run_name='__main__')
    shipped = repo / 'lab' / 'images' / f'{name}.png'
    drawn, shipped = (np.asarray(Image.open(path).convert('RGB'), float) for path in (out, shipped))
    assert drawn.shape == shipped.shape and abs(drawn - shipped).mean() < 2.5


def table(values):
    """Markdown: mean and standard deviation over the seeds of each name. Shares are in %."""
    values = values.select_dtypes('number')
    values = values.assign(**{name: 100 * values[name] for name in values if (values[name].abs() <= 1).all()})
    lines = [f'| | seeds | {" | ".join(values)} |', '| --- |' + ' ---: |' * (1 + len(values.columns))]
    for name, rows in values.groupby('name', sort=False):
        spread = [f' ± {value:.1f}' if len(rows) > 1 else '' for value in rows.std()]
        cells = [f'{mean:.1f}{sd}' for mean, sd in zip(rows.mean(), spread)]
        lines.append(f'| `{name}` | {len(rows)} | {" | ".join(cells)} |')
    return '\n'.join(lines)


@pytest.mark.parametrize(
    'page, kept',
    [
        ('tracking.md', 'tracking.csv'),
        ('partly_labelled.md', 'teachers.csv'),
        ('detectors.md', 'detectors.csv'),
        ('detectors.md', 'synthetic/detectors.csv'),
        ('full_size.md', 'full_size/detectors.csv'),
        ('full_size.md', 'full_size/detectors_rpn.csv'),
    ],
)
def test_a_pages_table_is_made_from_its_values(repo, results, page, kept):
    text = (repo / 'lab' / 'pages' / page).read_text()
    assert f'results/{kept})' in text
    expected = table(pd.read_csv(results(kept), index_col=['name', 'seed']))
    assert expected in text, f'write this into {page}:\n{expected}'


@pytest.mark.parametrize('path', HIDDEN, ids=lambda path: path.stem)
def test_tables_of_hidden_classes_are_made_from_their_values(repo, path):
    values = pd.read_csv(path)
    is_folded = values.name == 'nrpn-focal'
    values['name'] = values.name.where(~is_folded, [f'nrpn-focal folded by {fold:g}' for fold in values.fold])
    shown = [f'{view} AR@{num}' for view in ('unseen', 'hidden', 'labelled') for num in (10, 100)]
    shown += [f'{view} FP@{num}' for view in ('labelled', 'alone') for num in (10, 100)]
    expected = table(values.set_index(['name', 'seed'])[shown])
    text = (repo / 'lab' / 'pages' / 'hidden_classes.md').read_text()
    assert expected in text, f'write this into hidden_classes.md:\n{expected}'


def test_the_table_of_what_a_fit_is_made_on_is_made_from_its_values(repo, results):
    values = pd.read_csv(results('fit_unseen.csv')).query('fold in (0.1, 0.3, 0.5)').sort_values(['name', 'fold'])
    values['name'] += [f' by {fold:g}, {data}' for fold, data in zip(values.fold, values.fitted_on)]
    expected = table(values.set_index(['name', 'seed'])[['AR@10', 'AR@100', 'FP@10', 'FP@100']])
    text = (repo / 'lab' / 'pages' / 'finished_rpn.md').read_text()
    assert expected in text, f'write this into finished_rpn.md:\n{expected}'


@pytest.mark.parametrize(
    'page, start, kept, num, metrics',
    [
        ('partly_labelled.md', '## Ignored regions', 'partly', 4, 4),
        ('shapes.md', '## Many lookalikes', 'hard_shapes', 3, 4),
        ('loss_weights.md', '## In the laboratory', 'sgd', 3, 5),
        ('loss_weights.md', '## With AdamW', 'weights', 5, 5),
        ('whole.md', '', 'whole', 5, 8),
    ],
)
def test_a_pages_rows_are_those_of_the_benchmarks_table(repo, results, page, start, kept, num, metrics):
    text = (repo / 'lab' / 'pages' / page).read_text()
    section = text[text.index(start) :].partition('\n## ')[0] if start else text
    rows = re.findall(r'^\| (?:stock|`(?:paper-)?n?rpn).*±.*\|$', section, re.M)
    table = results(f'{kept}/table.md').read_text()
    shown = [re.findall(r'[\d.]+ ± [\d.]+', row) for row in rows]
    assert len(shown) == num and all(len(cells) == metrics for cells in shown)
    for cells in shown:
        assert re.search(' .*'.join(map(re.escape, cells)), table), cells


@pytest.mark.parametrize('page, kept, num, metrics', [('README.md', 'whole', 3, 4), ('docs/results.md', 'whole', 5, 6)])
def test_the_docs_rows_are_those_of_the_benchmarks_table(repo, results, page, kept, num, metrics):
    """Which the benchmark wrote when it had measured them."""
    rows = re.findall(
        r'^\| `(n?rpn[\w-]*|paper-nrpn)`.*?((?: \| [\d.]+ ± [\d.]+)+) \|$', (repo / page).read_text(), re.M
    )
    table = results(f'{kept}/table.md').read_text()
    rows = [(name, cells) for name, cells in rows if cells.count('±') == metrics]
    assert len(rows) == num
    for name, cells in rows:
        shown = ' .*'.join(re.escape(cell) for cell in cells.strip(' |').split(' | '))
        assert re.search(rf'^\| {name} \|.*{shown}', table, re.M), (name, cells)


@pytest.mark.parametrize(
    'page, kept', [('full_size.md', 'full_size/runs.csv'), ('other_proposals.md', 'whole/other_proposals.csv')]
)
def test_rows_of_one_seed_are_those_of_their_runs(repo, results, page, kept):
    text = (repo / 'lab' / 'pages' / page).read_text().partition('\n## ')[0]
    rows = re.findall(r'^\| `([\w-]+)`.*?((?: \| [\d.]+){8}) \|$', text, re.M)
    runs = pd.read_csv(results(kept), comment='#', index_col='name')
    runs = 100 * runs[METRICS]
    assert {name for name, _ in rows} == set(runs.index)
    for name, cells in rows:
        assert cells == ''.join(f' | {value:.1f}' for value in runs.loc[name]), name


def test_the_second_stages_start_is_that_of_the_runs(repo, results):
    rows = re.findall(
        r'^\| `([\w-]+)`((?: \| 0\.\d{3}){6}) \|$', (repo / 'lab' / 'pages' / 'full_size.md').read_text(), re.M
    )
    losses = pd.read_csv(results('full_size/detectors_start.csv'), index_col=['name', 'seed', 'step']).loss_bbox
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
def test_differences_are_those_of_the_runs(repo, results, page, start, kept, num):
    text = (repo / 'lab' / 'pages' / page).read_text()
    rows = re.findall(r'\(`(.+?)` - `(.+?)`.*?\) \| (.*) \|$', text[text.index(start) :].split('\n## ')[0], re.M)
    runs = pd.read_csv(results(f'{kept}/runs.csv'), comment='#', index_col=['name', 'seed'])
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
def test_what_a_fold_changes_is_that_of_the_sweeps(repo, results, page, start, row, num):
    text = (repo / 'lab' / 'pages' / page).read_text()
    rows = re.findall(r'^\| (?:`(.+?)` \| )?([\d.]+) \| (.*) \|$', text[text.index(start) :].split('\n## ')[0], re.M)
    folds = pd.read_csv(results('held_out/fold.csv'), comment='#', index_col=['name', 'fold', 'seed'])
    sizes = [f'AR_{size}@100' for size in 'sml']
    assert len(rows) == num
    for name, fold, cells in rows:
        of_row = 100 * (folds if cells.count('|') == 7 else folds.drop(columns=sizes)).loc[name or row]
        with_fold, without = of_row.loc[float(fold)], of_row.loc[0.0]
        differences = [paired_difference(with_fold[key].to_list(), without[key].to_list()) for key in of_row]
        assert cells == ' | '.join(f'{mean:+.1f} ± {half:.1f}' for mean, half in differences), (name, fold)
