import re
import runpy
import shutil
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def make_metafile():
    return runpy.run_path(str(REPO / '.dev_scripts' / 'make_metafile.py'))['metafile']


@pytest.fixture
def zoo(repo):
    load = pytest.importorskip('modelindex.load_model_index').load
    return load(str(repo / 'model-index.yml'))


def test_has_the_results_of_todays_configs(repo, make_metafile, monkeypatch):
    """Wherever data and weights lie."""
    for name in ('VOC_ROOT', 'SHAPES_ROOT', 'LITE0', 'R50_CAFFE'):
        monkeypatch.setenv(name, 'elsewhere/')
    assert (repo / 'configs' / 'nrpn' / 'metafile.yml').read_text() == make_metafile(), (
        'run .dev_scripts/make_metafile.py'
    )


def names(metafile):
    return {model['Name'] for model in yaml.safe_load(metafile)['Models']}


def test_a_changed_config_loses_its_row(repo, tmp_path, make_metafile):
    """Whichever config of the metafile changes: a result of the config before is none of the config after."""
    configs = tmp_path / 'configs' / 'nrpn'
    shutil.copytree(repo / 'configs' / 'nrpn', configs)
    before = names((repo / 'configs' / 'nrpn' / 'metafile.yml').read_text())
    changes = {
        'paper-nrpn': "['train_cfg']['rpn']['sampler'].update(hard_fraction=0.9)",
        'nrpn-focal': "['rpn_head']['loss_rank'].update(prior_weight=0.9)",
    }
    for method, change in changes.items():
        path = configs / '_base_' / 'methods' / f'{method}.py'
        path.write_text(f'{path.read_text()}method{change}\n')
    changed = {name for name in before if name.split('_')[0] in ('paper-nrpn', 'paper-nrpn-overlap', 'nrpn-focal')}
    assert {name.split('_')[0] for name in changed} >= set(changes)
    assert names(make_metafile(configs)) == before - changed
    for path in (configs / '_base_' / 'schedules').glob('*.py'):
        path.write_text(re.sub(r'weight_decay=[\d.]+', 'weight_decay=0.5', path.read_text()))
    assert not names(make_metafile(configs))


def test_others_can_read_it(zoo, repo):
    assert [collection.name for collection in zoo.collections] == ['nRPN']
    assert zoo.models
    for model in zoo.models:
        assert (repo / model.config).exists()
        (result,) = model.results
        assert 0 < result.metrics['AR@10'] < result.metrics['AR@100'] < 100
