import pytest
from as_coco import CLASSES, as_coco
from check_config import Row
from mmengine.config import Config

TRACKER = """
_base_ = ['mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py']
model = dict(detector=dict(init_cfg=None, backbone=dict(init_cfg=None)))
"""


@pytest.fixture
def tracker(tmp_path):
    """A config: MMDetection's QDTrack, which has its detector inside, without its weights, which are not here."""
    (tmp_path / 'tracker.py').write_text(TRACKER)
    return tmp_path / 'tracker.py'


@pytest.fixture
def make_own(repo, shapes, tmp_path):
    """The template for own data in VOC's or COCO's format, on the synthetic images, changed by a function."""

    def make(form, classes=CLASSES, spoil=None, lines='', template='rpn_r18_fpn_short'):
        if form == 'coco':
            for split in ('train', 'val'):
                as_coco(shapes, split)
        if spoil is not None:
            spoil(shapes)
        text = (repo / 'configs' / 'nrpn' / f'{template}_own-{form}.py').read_text()
        changes = {"'data/mine/'": f"'{shapes}/'", "('cat', 'dog')": repr(classes), "'./": f"'{repo}/configs/nrpn/"}
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        bare = 'model = dict(backbone=dict(init_cfg=None)'  # the weights to start from are not here
        text = text.replace('model = dict(', f'{bare}, ') if 'model = dict(' in text else f'{text}\n{bare})'
        (tmp_path / 'mine.py').write_text(f'{text}\n{lines}\n')
        return Row(str(tmp_path / 'mine.py'), Config.fromfile(tmp_path / 'mine.py'))

    return make
