import json

import pandas as pd
import pytest
import torch
from as_coco import CLASSES, as_coco
from mmdet.registry import MODELS
from mmengine.hub import get_config
from mmengine.runner import Runner
from small_detector import smaller

TOOL = 'tools/analysis_tools/sweep_objectness.py'
OURS = """
_base_ = ['./stock.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(roi_head=dict(type='ObjectnessRoIHead'), test_cfg=dict(rcnn=dict(objectness_weight=0.5)))
test_evaluator = [_base_.test_evaluator, dict(type='FROCMetric')]
"""


@pytest.fixture
def stock(shapes, tmp_path):
    """MMDetection's own config, smaller, and random weights. Objects are every fifth detection, so some are found."""
    as_coco(shapes, 'val')
    annotations = shapes / 'annotations' / 'val.json'
    cfg = get_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    cfg.model = smaller(cfg.model)
    cfg.model.roi_head.bbox_head.num_classes = len(CLASSES)
    cfg.model.test_cfg.update(rpn=dict(max_per_img=60), rcnn=dict(score_thr=0.0))
    for name in ('val', 'test'):
        loader, evaluator = cfg[f'{name}_dataloader'], cfg[f'{name}_evaluator']
        loader.update(batch_size=3, num_workers=0, persistent_workers=False)
        files = dict(data_root=None, ann_file=str(annotations), data_prefix=dict(img=f'{shapes}/val/'))
        loader.dataset.update(**files, metainfo=dict(classes=CLASSES))
        loader.dataset.pipeline = [step for step in loader.dataset.pipeline if step['type'] != 'LoadAnnotations']
        loader.dataset.pipeline[1].scale = (160, 160)
        evaluator.ann_file = str(annotations)
    cfg.dump(tmp_path / 'stock.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    for key, value in model.named_parameters():
        if key.endswith(('rpn_cls.weight', 'fc_cls.weight')):
            torch.nn.init.normal_(value, std=0.3)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    objects = []
    for batch in Runner.build_dataloader(cfg.val_dataloader):
        for sample in model.test_step(batch):
            for box, label in zip(sample.pred_instances.bboxes[::5], sample.pred_instances.labels[::5].tolist()):
                w, h = (box[2:] - box[:2]).tolist()
                place = dict(bbox=[*box[:2].tolist(), w, h], area=w * h, iscrowd=0)
                objects.append(dict(id=len(objects) + 1, image_id=sample.img_id, category_id=label, **place))
    annotations.write_text(json.dumps({**json.loads(annotations.read_text()), 'annotations': objects}))
    return tmp_path / 'stock.py', tmp_path / 'model.pth'


@pytest.mark.slow
def test_each_weight_is_what_the_test_tool_measures(run_tool, stock, tmp_path):
    """On a stock detector: without this package for weight 0, and by the config that has ours for another."""
    done = run_tool(TOOL, *stock, '--weights', 0.5, 0, '--out', tmp_path / 'new' / 'sweep.png')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'new' / 'sweep.png').stat().st_size > 10_000
    table = pd.read_csv(tmp_path / 'new' / 'sweep.csv', index_col='weight')
    assert [*table.index] == [0, 0.5]
    told = table[['coco/bbox_mAP_50', 'froc/mean_recall', 'froc/FPPI@0.5']]
    assert (told > 0).all(axis=None) and (told.loc[0] != told.loc[0.5]).all()
    assert done.stdout.splitlines()[-1].endswith(f'{tmp_path}/new/sweep.csv')
    assert all(column in done.stdout for column in told)
    (tmp_path / 'ours.py').write_text(OURS)
    for weight, config in ((0, 'stock.py'), (0.5, 'ours.py')):
        out = tmp_path / f'test{weight}'
        done = run_tool('tools/test.py', tmp_path / config, tmp_path / 'model.pth', '--work-dir', out)
        assert done.returncode == 0, done.stderr
        (file,) = out.glob('*/*.json')
        measured = {key: value for key, value in json.loads(file.read_text()).items() if '/' in key}
        assert len(measured) == (table.shape[1] if weight else 6)
        for key, value in measured.items():
            assert table.loc[weight, key] == pytest.approx(value, nan_ok=True), key


@pytest.mark.parametrize('key', ['model.rpn_head', 'model.roi_head', 'val_dataloader', 'val_evaluator'])
def test_names_the_key_that_is_missing(run_tool, stock, key, tmp_path):
    config, checkpoint = stock
    config.write_text(config.read_text() + (f"model['{key[6:]}'] = None\n" if '.' in key else f'{key} = None\n'))
    done = run_tool(TOOL, config, checkpoint, '--out', tmp_path / 'sweep.png')
    assert done.returncode == 1 and f'{key} is not there' in done.stderr and 'Traceback' not in done.stderr
