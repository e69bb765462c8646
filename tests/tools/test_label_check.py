"""A label is the number of a category in its file, and no index into ``classes``."""

import re

import pytest
from as_coco import CLASSES
from check_config import Check
from spoiled_data import both, categories, in_json, told

DETECTOR = 'nrpn_faster-rcnn_r50_fpn_1x'


@pytest.mark.parametrize('template', ['rpn_r18_fpn_short', DETECTOR])
@pytest.mark.parametrize(
    'names, shift', [(('disc', *CLASSES), 1), (('disc', 'square', 'square', 'triangle'), 0), (CLASSES[:1] * 3, 0)]
)
def test_several_categories_of_one_name(make_own, names, shift, template):
    spoil = both(in_json(categories(*names, shift=shift)), in_json(categories(*names, shift=shift), 'val'))
    line = told(make_own('coco', spoil=spoil, classes=tuple(dict.fromkeys(names)), template=template))
    twice = next(name for name in names if names.count(name) > 1)
    assert re.search(f"train.json has several categories called '{twice}' .ids", line), line


def test_a_root_category_is_no_class(make_own, capsys):
    """As Roboflow writes it: labels are counted without it."""
    spoil = both(
        in_json(categories('shapes', *CLASSES, shift=1)), in_json(categories('shapes', *CLASSES, shift=1), 'val')
    )
    assert Check()(make_own('coco', spoil=spoil, template=DETECTOR)) is None
    said = capsys.readouterr().err
    assert 'has no object' not in said and 'order' not in said


def swap(content):
    content['categories'].reverse()


@pytest.mark.parametrize('template', ['rpn_r18_fpn_short', DETECTOR])
def test_categories_in_another_order_matter_where_labels_do(make_own, template):
    run = make_own('coco', spoil=in_json(swap, 'val'), template=template)
    if template == DETECTOR:
        line = told(run)
        assert re.search(r"val.json has the categories \('triangle', 'square', 'disc'\) and .*train.json .*order", line)
    else:
        assert Check()(run) is None


def test_classes_in_another_order_than_the_files(make_own, capsys):
    """All trains as it should, and names of detections are wrong."""
    assert Check()(make_own('coco', classes=CLASSES[::-1], template=DETECTOR)) is None
    assert "order labels follow, and metainfo.classes=('triangle'" in capsys.readouterr().err


def test_objects_are_counted_by_the_files_names(make_own, capsys):
    """The one class without an object is the second of the file and the first of the config."""
    spoil = in_json(lambda content: [a.update(category_id=2) for a in content['annotations'] if a['category_id'] == 1])
    assert Check()(make_own('coco', classes=('square', 'triangle', 'disc'), spoil=spoil)) is None
    assert re.findall(r'train_dataloader.dataset has no object of (.*);', capsys.readouterr().err)[0].startswith(
        "['square']"
    )


def test_a_head_without_room_for_a_class(make_own):
    lines = 'model["roi_head"] = dict(bbox_head=dict(num_classes=2))'
    assert 'num_classes=2 for 3 classes' in told(make_own('coco', template=DETECTOR, lines=lines))
