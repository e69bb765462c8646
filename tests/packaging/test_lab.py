"""The record of experiments in lab/ needs the package, and nothing of the package needs the record."""

import os
import re
import shutil
import subprocess
import sys

import pytest

FOLDERS = ('mmdet_nrpn', 'tools', 'configs', 'docs', 'tests')
TEXT = ('.py', '.md', '.yml', '.html', '.sh')
LINK = re.compile(r'\]\((?:\.\./)*lab/README\.md\)')  # the one way that a page may name it
NAMED = re.compile(r'\blab\b', re.I)


def test_is_named_in_links_alone(repo):
    files = [path for folder in FOLDERS for path in (repo / folder).rglob('*') if path.suffix in TEXT]
    files = [path for path in files if path.name != 'test_lab.py']
    assert len(files) > 100
    assert [str(path) for path in files if NAMED.search(LINK.sub('', path.read_text()))] == []


@pytest.mark.slow
def test_a_copy_without_it_has_all_tests_and_its_tables(sources):
    """Collected are all; run are those that follow links and that make tables and metafile from the results."""
    shutil.rmtree(sources / 'lab')
    shown = dict(
        capture_output=True, text=True, cwd=sources, env={**os.environ, 'PYTHONPATH': str(sources)}, timeout=300
    )
    pytest_in_copy = [sys.executable, '-m', 'pytest', '-n', '0', '-q', '-p', 'no:cacheprovider']
    collected = subprocess.run([*pytest_in_copy, '--collect-only'], **shown)
    assert collected.returncode == 0, collected.stdout[-3000:]
    chosen = ['tests/docs/test_site.py', 'tests/configs/test_metafile.py', '-k', 'links or named or csvs or todays']
    done = subprocess.run([*pytest_in_copy, *chosen], **shown)
    assert done.returncode == 0, done.stdout[-3000:]
