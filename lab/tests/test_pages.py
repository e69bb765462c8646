"""The index names every page, links lead somewhere, also those of the docs into lab, and named files are there."""

import re
from pathlib import Path

import pytest
from pymdownx.slugs import slugify

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / 'lab').rglob('*.md'))
DOCS = [*(ROOT / 'docs').rglob('*.md'), ROOT / 'CONTRIBUTING.md']
COMMAND = re.compile(r'^- command: `.*`$', re.M)  # what made a table, as it was called then
# of the tools' names those of then are kept
NAMED = re.compile(r'(?<![\w/.])(?:lab|configs)/(?!.*_mine)[\w./-]+\.(?:py|json)')


def links(page):
    for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
        path, _, anchor = link.partition('#')
        if '://' not in link:
            yield link, page.parent / path if path else page, anchor


def check(link, target, anchor):
    assert target.exists(), link
    if anchor:
        headings = re.findall(r'^#+ (.*)$', target.read_text(), re.M)
        assert anchor in [slugify(case='lower')(heading, '-') for heading in headings], link


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        check(*link)


def test_links_of_the_docs_into_the_lab_lead_somewhere():
    into = [link for page in DOCS for link in links(page) if 'lab' in link[1].resolve().relative_to(ROOT).parts]
    assert into
    for link in into:
        check(*link)


def test_the_index_names_every_page():
    named = {target.name for _, target, _ in links(ROOT / 'lab' / 'README.md')}
    assert {page.name for page in (ROOT / 'lab' / 'pages').glob('*.md')} <= named


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_lab_and_configs_that_are_named_are_there(page):
    named = {*NAMED.findall(COMMAND.sub('', page.read_text()))}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
