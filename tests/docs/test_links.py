"""Files and headings that the docs point at are there; the drawing has the names that the code has."""

import re
import runpy

import pytest

LINK = re.compile(r'\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)')


def anchors(path):
    """GitHub's: of each heading its words in lower case, with hyphens."""
    headings = re.findall(r'^#+ (.*)$', re.sub(r'^```.*?^```', '', path.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('folder', ['.', 'docs', 'configs/nrpn'])
def test_links(repo, folder):
    links = 0
    for path in (repo / folder).glob('*.md'):
        for file, anchor in LINK.findall(path.read_text()):
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), f'{path.name} points at {file}'
            assert not anchor or anchor in anchors(target), f'{path.name} points at {file}#{anchor}'
            links += 1
    assert links > 5


def test_the_drawn_step_has_the_names_of_the_code(repo, tmp_path):
    runpy.run_path(str(repo / '.dev_scripts' / 'draw_training_step.py'))['draw'](tmp_path / 'step.svg')
    drawn, shipped = (
        re.findall(r'<text[^>]*>(.*?)</text>', path.read_text(), re.S)
        for path in (tmp_path / 'step.svg', repo / 'docs' / 'images' / 'training_step.svg')
    )
    assert drawn == shipped and len(drawn) > 10
