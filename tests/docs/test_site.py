"""The site builds, links lead somewhere, and what pages draw, tabulate and promise is that of code and results."""

import inspect
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from benchmark.report import paired_difference
from pymdownx.slugs import slugify

import mmdet_nrpn
from mmdet_nrpn import utils

REPO = Path(__file__).parents[2]
# links into the record of experiments, which need not be there
RECORD = runpy.run_path(str(REPO / '.dev_scripts' / 'docs_pages.py'))['RECORD']
PAGES = [
    *(REPO / name for name in ('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'configs/nrpn/README.md')),
    *(REPO / 'docs').glob('*.md'),
]


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
    done = build()
    assert done.returncode == 0, done.stderr
    api = (build.copy / 'site' / 'api' / 'index.html').read_text()
    for name in mmdet_nrpn.__all__:
        assert name.startswith('_') or f'id="mmdet_nrpn.{name}"' in api


def test_a_broken_link_fails(build):
    broken = {
        'README.md': ('docs/nowhere1.md', 'docs/method.md#nowhere2'),
        'docs/guide.md': ('method.md#nowhere3', 'images/nowhere4.jpg'),
        'configs/nrpn/README.md': ('../../docs/nowhere5.md',),
    }
    for page, links in broken.items():
        path = build.copy / page
        path.write_text(path.read_text() + ''.join(f'\n\n[broken]({link})\n' for link in links))
    done = build()
    assert done.returncode != 0
    assert {*re.findall(r'nowhere\d', done.stderr)} == {f'nowhere{number}' for number in range(1, 6)}


def test_the_diagram_of_a_step_has_the_names_of_the_code(repo):
    (diagram,) = re.findall(r'^```mermaid\n(.*?)^```', (repo / 'docs' / 'method.md').read_text(), re.S | re.M)
    methods = re.findall(r'\b([A-Z]\w+)\.(\w+)<br>', diagram)
    assert len(methods) == 3 and all(hasattr(getattr(mmdet_nrpn, cls), method) for cls, method in methods)
    assert f'{utils.mine_candidates.__name__}<br>' in diagram
    (fields,) = re.findall(r'"Candidates: (.*?)"', diagram)
    assert {*fields.split(', ')} <= {*utils.Candidates._fields}
    given = [*inspect.signature(mmdet_nrpn.HardNegativeRankLoss.forward).parameters]
    assert all(name in diagram and name in given for name in ('positive', 'negative', 'prior'))


def test_files_that_are_named_are_there(repo):
    """As `tools/train.py`."""
    pattern = re.compile(r'`((?:docs|tools|configs|tests|mmdet_nrpn|requirements|\.dev_scripts)/[\w./-]+)`')
    named = {(page.name, path) for page in PAGES for path in pattern.findall(page.read_text())}
    assert len(named) > 10
    assert [(page, path) for page, path in named if not (repo / path).exists()] == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page):
    """Also where they are no part of the site."""
    for link in re.findall(r'\]\(([^)\s]+)\)', RECORD.sub('', page.read_text())):
        path, _, anchor = link.partition('#')
        target = page.parent / path if path else page
        if '://' in link:
            continue
        assert target.exists(), link
        if anchor:
            headings = re.findall(r'^#+ (.*)$', target.read_text(), re.M)
            assert anchor in [slugify(case='lower')(heading, '-') for heading in headings], link


def test_readme_is_one_screen_and_the_pages_are_few(repo):
    readme, docs = (repo / 'README.md').read_text(), [*(repo / 'docs').glob('*.md')]
    assert len(readme.splitlines()) <= 60 and len(readme.split()) <= 450
    assert len(re.findall(r'\d+(?:\.\d+)?', readme)) <= 40
    assert len(docs) <= 11 and sum(len(page.read_text().split()) for page in PAGES[1:3] + docs) <= 8500


@pytest.fixture
def cog(repo, tmp_path):
    """Run cogapp as ``make tables`` does, on copies of the pages."""
    recipe = subprocess.check_output(['make', '-n', 'tables'], cwd=repo, text=True)
    (line,) = re.findall(r'/bin/cog (.*) --verbosity=1 -r (.*)', recipe)
    pages = [shutil.copy(repo / name, tmp_path) for name in line[1].split()]

    def cog(*flags):
        command = [sys.executable, '-m', 'cogapp', *shlex.split(line[0]), *flags, *pages]
        return subprocess.run(command, cwd=repo, capture_output=True, text=True)

    cog.pages = tmp_path
    return cog


def test_a_pages_table_that_is_not_its_csvs_fails(cog):
    assert cog('--check').returncode == 0
    page = cog.pages / 'README.md'
    page.write_text(page.read_text().replace('| `rpn`: stock | 3', '| `rpn`: stock | 4'))
    assert cog('--check').returncode != 0


@pytest.mark.parametrize(
    'start, kept, num',
    [
        ('## End to end', 'whole/runs.csv', 3),
        ('## Frozen features', 'held_out/runs.csv', 1),
        ('## Fit and fold', 'held_out/fold.csv', 3),
    ],
)
def test_differences_of_the_results_are_the_benchmarks(repo, start, kept, num):
    """By the benchmark's own computation."""
    text = (repo / 'docs' / 'results.md').read_text().partition(start)[2].partition('[[[end]]]')[0]
    rows = re.findall(r'^- `(.+?)` (against `|folded by )(.+?)`?: (.*)$', text, re.M)
    values = pd.read_csv(repo / 'docs' / 'results' / kept, comment='#').sort_values('seed')
    assert len(rows) == num
    for name, how, other, differences in rows:
        if how == 'folded by ':
            ours, theirs = (values[(values['name'] == name) & (values.fold == fold)] for fold in (float(other), 0))
        else:
            ours, theirs = (values[values['name'] == row] for row in (name, other))
        shown = re.findall(r'(\w+@\d+) (\S+ ± [\d.]+)', differences)
        assert len(shown) == 4 and len(ours) == 3
        for metric, cell in shown:
            mean, half = paired_difference(*((100 * row[metric]).to_list() for row in (ours, theirs)))
            assert cell == f'{mean:+.1f} ± {half:.1f}', (name, other, metric)


def test_the_settings_table_has_the_defaults_of_the_code(repo):
    """As `rpn_head` | `hardness` | `'nrpn'`."""
    classes = {
        'rpn_head': mmdet_nrpn.HardNegativeRPNHead,
        'loss_rank': mmdet_nrpn.HardNegativeRankLoss,
        'NRPNHead': mmdet_nrpn.NRPNHead,
        'NRPNSampler': mmdet_nrpn.NRPNSampler,
    }
    settings = (repo / 'docs' / 'method.md').read_text().partition('## Settings')[2]
    rows = re.findall(r'^\| (?:`(\w+)`)? ?\| `(\w+)` \| (\S+) \|', settings, re.M)
    assert len(rows) == 12
    where = None
    for owner, name, default in rows:
        where = owner or where
        has = inspect.signature(classes[where]).parameters[name].default
        assert has == eval(default.strip('`')), f'{where}.{name}'


def test_results_are_measured_on_the_listed_images(repo, tmp_path):
    """``make results`` on VOC 2007 as it is distributed: its folder has no list of ours."""
    lists, weights = tmp_path / 'VOC2007' / 'ImageSets' / 'Main', tmp_path / 'lite0.pth'
    lists.mkdir(parents=True)
    weights.touch()
    variables = ['PY=bash -c printenv', f'VOC_ROOT={tmp_path}/', f'LITE0={weights}', 'VENV=.venv']
    command = ['make', '-s', '-o', '.venv/.ready', 'results', *variables]
    said = subprocess.check_output(command, cwd=repo, env={**os.environ, 'MAKEFLAGS': ''}, text=True)
    env = dict(line.split('=', 1) for line in said.splitlines() if '=' in line)
    assert env['VOC_TRAIN'] == 'train' and env['VOC_ROOT'] == f'{tmp_path}/'
    names = (lists / f'{env["VOC_VAL"]}.txt').read_text().split()
    assert len({*names}) == 1283 and all(re.fullmatch(r'\d{6}', name) for name in names)
    (glob,) = re.findall(r'configs/nrpn/\{(.*)\}(\w\S*)\.py', (repo / 'Makefile').read_text())
    assert all((repo / 'configs' / 'nrpn' / f'{method}{glob[1]}.py').exists() for method in glob[0].split(','))
