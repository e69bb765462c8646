import pytest
from as_coco import CLASSES, as_coco
from check_config import Row
from mmengine.config import Config


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
