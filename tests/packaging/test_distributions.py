import subprocess
import sys
import tarfile
import zipfile

import pytest

pytestmark = pytest.mark.slow


def test_wheel_and_sdist_hold_the_model_zoo(sources, wheel, build, tmp_path):
    sdist = build(sources, 'sdist', tmp_path / 'dist')
    with tarfile.open(sdist) as tar:
        tar.extractall(tmp_path / 'unpacked', filter='data')
    (unpacked,) = (tmp_path / 'unpacked').iterdir()
    from_sdist = build(unpacked, 'wheel', tmp_path / 'from_sdist')

    names = set(zipfile.ZipFile(wheel).namelist())
    assert names == set(zipfile.ZipFile(from_sdist).namelist())
    expected = [path for folder in ('configs', 'tools') for path in (sources / folder).rglob('*') if path.is_file()]
    assert len(expected) > 60
    in_mim = {name.removeprefix('mmdet_nrpn/.mim/') for name in names if '/.mim/' in name}
    assert in_mim == {str(path.relative_to(sources)) for path in expected} | {'model-index.yml'}
    package = [path for path in (sources / 'mmdet_nrpn').rglob('*') if path.is_file() and '.mim' not in path.parts]
    assert {str(path.relative_to(sources)) for path in package if path.suffix != '.pyc'} <= names
    assert (unpacked / 'tests' / 'packaging').is_dir() and (unpacked / 'docs' / 'method.md').exists()

    done = subprocess.run(
        [sys.executable, '-m', 'twine', 'check', '--strict', wheel, sdist], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.count('PASSED') == 2, done.stdout + done.stderr
