"""Scripts of single experiments."""

import json
import runpy
import shutil
from xml.etree import ElementTree

import torch
from mmdet.registry import MODELS
from mmengine.config import Config

XMLCORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def test_two_detectors_are_measured_with_each_others_proposals(repo, shapes, tmp_path, monkeypatch):
    """Detectors of one kind with the same second stage, and one RPN that is another."""
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')
    swap = runpy.run_path(str(repo / 'lab' / 'scripts' / 'swap_proposals.py'))['measure']
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / 'faster-rcnn_r18-w16_fpn_demo_semi-shapes.py')
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight, std=1.0)
    torch.save(model.state_dict(), tmp_path / 'one.pth')
    torch.nn.init.normal_(model.rpn_head.rpn_cls.weight, std=1.0)
    torch.save(model.state_dict(), tmp_path / 'other.pth')
    found = swap([cfg, cfg], [tmp_path / 'one.pth', tmp_path / 'other.pth'])
    assert found[0, 0] == found[0, 1] and found[1, 0] == found[1, 1] and found[0, 0] != found[1, 1]


def test_a_detached_rpn_learns_and_the_features_do_not(repo, build_head, features, make_sample):
    detached = runpy.run_path(str(repo / 'lab' / 'scripts' / 'train_detached.py'))['detached']
    samples = [make_sample([[8, 8, 40, 40]]) for _ in range(2)]
    learnt = []
    for change in (lambda method: method, detached):
        head, x = build_head(), features(requires_grad=True)
        torch.manual_seed(0)
        losses, _ = change(type(head).loss_and_predict)(head, x, samples)
        sum(sum(value) for name, value in losses.items() if 'loss' in name).backward()
        assert all((level.grad is None) == (change is detached) for level in x)
        learnt.append(torch.cat([parameter.grad.flatten() for parameter in head.parameters()]))
    assert learnt[0].any() and torch.equal(*learnt)


def test_regions_on_objects_are_counted(repo, shapes, tmp_path):
    """One object of an image is not annotated, a region lies on it, and another one on an annotated object."""
    count = runpy.run_path(str(repo / 'lab' / 'scripts' / 'regions_on_objects.py'))['count']
    partly = shutil.copytree(shapes, tmp_path / 'partly')
    path = next(
        path for path in sorted((partly / 'Annotations').glob('*.xml')) if path.read_text().count('<object>') > 1
    )
    tree = ElementTree.parse(path)
    taken, kept, *_ = tree.getroot().findall('object')
    tree.getroot().remove(taken)
    tree.write(path)
    corners = ([int(item.find('bndbox').findtext(key)) - 1 for key in XMLCORNERS] for item in (taken, kept))
    boxes = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in corners]
    annotations = [dict(image_id=5, bbox=box, score=0.9) for box in boxes] + [dict(image_id=5, bbox=boxes[0])]
    content = dict(images=[dict(id=5, file_name=f'JPEGImages/{path.stem}.jpg')], annotations=annotations)
    (partly / 'regions.json').write_text(json.dumps(content))
    split = partly / 'ImageSets' / 'Main' / 'train.txt'
    assert path.stem in split.read_text().split()
    assert count(partly, shapes) == dict(regions=2, on_objects=1, missing=1, found=1)
