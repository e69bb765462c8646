import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

HOOK = 'import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))'


def build_distribution(source, what, out):
    """Build an sdist or a wheel as pip does, and give its path."""
    out.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, '-c', HOOK, f'build_{what}', str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture
def sources(repo, tmp_path):
    """A copy of what is, or would be, committed; building leaves its traces there."""
    listed = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'], cwd=repo, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip('needs the git repository, to tell sources from what else lies there')
    copy = tmp_path / 'sources'
    for name in filter(lambda name: (repo / name).is_file(), listed.stdout.splitlines()):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((repo / name).read_bytes())
    return copy


@pytest.fixture
def build():
    return build_distribution


@pytest.fixture
def wheel(sources, tmp_path):
    return build_distribution(sources, 'wheel', tmp_path / 'dist')


@pytest.fixture
def make_environment(tmp_path):
    """A virtual environment of its own that sees the stack, and of mmdet_nrpn only what is installed in it."""

    def make(*install):
        folder = tmp_path / 'environment'
        subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
        python = folder / 'bin' / 'python'
        site = subprocess.check_output(
            [python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], text=True
        )
        # a path in a .pth file is searched last, and its own .pth files, such as our editable install, are not read
        (Path(site.strip()) / 'stack.pth').write_text(sysconfig.get_path('purelib'))
        if install:
            command = [sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index']
            done = subprocess.run([*command, '--no-build-isolation', *install], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

        def run(*args, cwd=tmp_path, **env):
            return subprocess.run(
                [python, *map(str, args)],
                cwd=cwd,
                env={
                    'PATH': f'{folder / "bin"}:/usr/bin:/bin',
                    'HOME': str(tmp_path),
                    'OMP_NUM_THREADS': '1',
                    'TMPDIR': tempfile.gettempdir(),
                    **env,
                },
                capture_output=True,
                text=True,
                timeout=300,
            )

        return SimpleNamespace(run=run, site=Path(site.strip()))

    return make
