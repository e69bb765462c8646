import runpy

import pytest


@pytest.fixture
def zoo(repo):
    load = pytest.importorskip('modelindex.load_model_index').load
    return load(str(repo / 'model-index.yml'))


def test_is_what_was_measured(repo):
    made = runpy.run_path(str(repo / '.dev_scripts' / 'make_metafile.py'))['metafile']()
    assert (repo / 'configs' / 'nrpn' / 'metafile.yml').read_text() == made, 'run .dev_scripts/make_metafile.py'


def test_others_can_read_it(zoo, repo):
    assert [collection.name for collection in zoo.collections] == ['nRPN']
    assert len(zoo.models) >= 4
    for model in zoo.models:
        assert (repo / model.config).exists()
        (result,) = model.results
        assert 0 < result.metrics['AR@10'] < result.metrics['AR@100'] < 100
