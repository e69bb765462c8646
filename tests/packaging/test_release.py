"""``make release`` of networks with random weights; mim downloads what it published, from a server on this machine."""

import functools
import importlib.util
import os
import re
import subprocess
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
import tool_runner
import torch
import yaml
from benchmark.config_hash import config_hash
from mmdet.registry import MODELS
from mmengine.config import Config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec('mim') is None, reason='mim is not installed'),
]
NAMES = [f'{method}_efficientnet-lite0_fpn_320px_voc07' for method in ('rpn', 'rpn-focal', 'nrpn-focal')]
METAFILE = 'configs/nrpn/metafile.yml'


@pytest.fixture
def results(repo, tmp_path):
    """What `make results` leaves behind, in another folder than it trained in; the weights, too."""
    rows, weights = [], {}
    for name in NAMES:
        cfg = Config.fromfile(repo / 'configs' / 'nrpn' / f'{name}.py')
        of_all = dict(name=name, config_hash=config_hash(cfg), commit='0123456')  # building writes into it
        weights[name] = MODELS.build(cfg.model).state_dict()
        folder = tmp_path / 'results' / name / 'seed5'
        folder.mkdir(parents=True)
        torch.save(dict(state_dict=weights[name], meta=dict(iter=1500)), folder / 'iter_1500.pth')
        (folder / 'last_checkpoint').write_text('/elsewhere/iter_1500.pth')
        metrics = {'AR@10': 0.25, 'AR@100': 0.5, 'FP@10': 0.125, 'FP@100': 0.75}
        rows += [dict(of_all, seed=5, **metrics), dict(of_all, seed=6, **{**metrics, 'AR@10': 0.35})]
    (tmp_path / 'results' / 'runs.csv').write_text(f'# device: none\n{pd.DataFrame(rows).to_csv(index=False)}')
    return tmp_path / 'results', weights


@pytest.fixture
def served(tmp_path):
    """A folder, and the address that its files are served at."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / 'release')
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / 'release', f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def release(sources, *args):
    env = {**os.environ, 'PYTHONPATH': str(sources)}
    return tool_runner.run([sources / '.dev_scripts' / 'release.py', *args], cwd=sources, env=env, timeout=300)


def weights_of(metafile):
    return {model['Name']: model['Weights'] for model in yaml.safe_load(metafile)['Models'] if 'Weights' in model}


def test_mim_downloads_what_was_published(sources, results, served, make_environment, mmdet_package, tmp_path):
    """onedl-mim from an editable install, openmim from an installed wheel: docs/get_started.md."""
    (work_dir, weights), (out, url) = results, served
    done = release(sources, f'{url}/', work_dir, out)
    assert done.returncode == 0, done.stderr
    subprocess.run(['sha256sum', '--check', '--strict', 'SHA256SUMS'], cwd=out, check=True)
    assert len((out / 'SHA256SUMS').read_text().splitlines()) == 2 + 2 * len(NAMES)
    (wheel,), (sdist,) = out.glob('*.whl'), out.glob('*.tar.gz')
    urls = weights_of(zipfile.ZipFile(wheel).read(f'mmdet_nrpn/.mim/{METAFILE}'))
    assert urls == weights_of((sources / METAFILE).read_text()) and {*urls} == {*NAMES}
    for name, weight in urls.items():
        assert re.fullmatch(rf'{url}/{name}-[0-9a-f]{{8}}\.pth', weight)
        card = (out / weight.rpartition('/')[2]).with_suffix('.md').read_text()
        assert '| this checkpoint, seed 5 | 25.0 | 50.0 | 12.5 | 75.0 |\n| mean of 2 seeds | 30.0 |' in card

    installed = wheel
    if mmdet_package.startswith('onedl'):
        with tarfile.open(sdist) as tar:
            tar.extractall(tmp_path / 'unpacked', filter='data')
        installed = next((tmp_path / 'unpacked').iterdir())
    environment = make_environment(*(['-e'] if installed.is_dir() else []), installed)
    command = ['mim', 'download', 'mmdet_nrpn', '--config', NAMES[-1], '--dest', tmp_path / 'downloaded']
    done = environment.run('-m', *command)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / 'downloaded').glob('*.pth')
    state = torch.load(path, weights_only=True)['state_dict']
    model = MODELS.build(Config.fromfile(sources / 'configs' / 'nrpn' / f'{NAMES[0]}.py').model)  # stock's
    model.load_state_dict(state)
    for key, value in model.state_dict().items():
        trained = weights[NAMES[-1]][key]
        assert torch.equal(value, trained.half().float() if trained.is_floating_point() else trained)
    assert Config.fromfile(tmp_path / 'downloaded' / f'{NAMES[-1]}.py').model.rpn_head.type == 'HardNegativeRPNHead'


def test_what_is_missing_is_named(sources, results, tmp_path):
    work_dir, _ = results
    (work_dir / NAMES[1] / 'seed5' / 'last_checkpoint').unlink()
    for base_url, said in (('http://localhost', f'{NAMES[1]} as it is today, with its checkpoint: make results'),
                           ('', 'make release BASE_URL=')):  # fmt: skip
        done = release(sources, base_url, work_dir, tmp_path / 'release')
        assert done.returncode != 0 and said in done.stderr and 'Traceback' not in done.stderr
    assert weights_of((sources / METAFILE).read_text()) == {}
