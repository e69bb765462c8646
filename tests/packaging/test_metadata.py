"""What the repository says of itself in several files is the same in all."""

import configparser
import re
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import mmdet_nrpn


@pytest.fixture
def setup_cfg(repo):
    config = configparser.ConfigParser()
    config.read(repo / 'setup.cfg')
    return config


def pins(path):
    return dict(re.findall(r'^([\w.-]+)==(\S+)$', path.read_text(), re.M))


def test_one_ruff(repo):
    hooks = yaml.safe_load((repo / '.pre-commit-config.yaml').read_text())['repos']
    (rev,) = (hook['rev'] for hook in hooks if hook['repo'].endswith('/ruff-pre-commit'))
    assert rev == 'v' + pins(repo / 'requirements' / 'dev.txt')['ruff']


def test_promised_pythons_are_the_tested_ones(repo, setup_cfg):
    promised = re.findall(r':: (3\.\d+)$', setup_cfg['metadata']['classifiers'], re.M)
    workflow = yaml.safe_load((repo / '.github' / 'workflows' / 'check.yml').read_text())
    assert promised == workflow['jobs']['check']['strategy']['matrix']['python-version']
    assert setup_cfg['options']['python_requires'] == f'>={promised[0]}'


def test_one_version(repo):
    assert yaml.safe_load((repo / 'CITATION.cff').read_text())['version'] == mmdet_nrpn.__version__
    assert f'## {mmdet_nrpn.__version__}' in (repo / 'CHANGELOG.md').read_text()


def test_extra_for_tests_is_pinned(repo, setup_cfg):
    extra = setup_cfg['options.extras_require']['test'].split()
    assert {*extra} <= {*pins(repo / 'requirements' / 'dev.txt')}


@pytest.mark.parametrize('column, stack', [(2, 'onedl'), (3, 'openmmlab')])
def test_a_stack_is_what_its_extra_takes_and_the_docs_say(repo, setup_cfg, column, stack):
    pinned = pins(repo / 'requirements' / f'{stack}.txt')
    extra = [Requirement(line) for line in setup_cfg['options.extras_require'][stack].split()]
    assert len(extra) >= 3 and all(pinned[part.name] in part.specifier for part in extra)
    table = re.findall(r'^\|.*\|$', (repo / 'docs' / 'get_started.md').read_text(), re.M)
    told = ' '.join(row.split('|')[column] for row in table)
    names = {name for name in pinned if re.search(r'^torch$|^numpy$|^setuptools$|mm(det|cv|engine)|mim$', name)}
    assert len(names) == 7 and {name for name in names if pinned[name] not in told} == set()


def test_no_requirement_is_pinned_twice(repo):
    names = [name for path in (repo / 'requirements').glob('[cd]*.txt') for name in pins(path)]
    assert len(names) == len({*names})


@pytest.mark.parametrize('python', ['3.11.0', '3.12.0', '3.13.0'])
def test_pins_are_for_every_python_that_is_promised(repo, python):
    """Some need 3.11.5, and Debian's is 3.11.2."""
    pinned = {name for path in (repo / 'requirements').glob('*.txt') for name in pins(path)}
    needed = {dist.name: dist.metadata['Requires-Python'] for dist in metadata.distributions() if dist.name in pinned}
    assert len(needed) > 80
    assert {name: spec for name, spec in needed.items() if spec and python not in SpecifierSet(spec)} == {}
