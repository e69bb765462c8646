"""The fixtures of the package's own tests, and where results lie."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = dict(disc='sofa', square='cat', triangle='dog')
# tools that these tests start find lab, as with PYTHONPATH=. from the root
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
_spec = importlib.util.spec_from_file_location('fixtures', ROOT / 'tests' / 'conftest.py')
sys.modules['fixtures'] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules['fixtures'])
from fixtures import *  # noqa: E402, F403


@pytest.fixture
def results():
    """A file of results by its name: docs/results has those that the docs show."""

    def find(name):
        (path,) = (path for path in (ROOT / folder / 'results' / name for folder in ('docs', 'lab')) if path.exists())
        return path

    return find


@pytest.fixture
def voc(shapes):
    """The shapes under names of VOC's classes, which the class of the data set brings along."""
    root = shapes.rename(shapes.parent / 'VOC2007')
    for path in (root / 'Annotations').glob('*.xml'):
        path.write_text(re.sub('<name>(.+?)</name>', lambda name: f'<name>{NAMES[name[1]]}</name>', path.read_text()))
    return root
