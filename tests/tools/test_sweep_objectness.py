import json

import pandas as pd
import pytest
import torch
from analysis_tools.sweep_objectness import first_columns, sweep, with_objectness
from as_coco import CLASSES, as_coco
from detectors import Detector, build
from mmdet.models.detectors import PanopticFPN
from mmdet.models.roi_heads import GridRoIHead, MultiInstanceRoIHead, SparseRoIHead, StandardRoIHead
from mmdet.registry import MODELS
from mmengine.hub import get_config
from mmengine.runner import Runner
from small_detector import smaller

from mmdet_nrpn import FROCMetric
from mmdet_nrpn.evaluation import GroundTruth

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


def test_a_froc_metric_of_the_config_is_the_one_that_is_told(stock, tmp_path):
    """It writes its figure for each weight. mAP comes first, where the config's metric has each class before it."""
    detector = build(*stock)
    coco = dict(detector.cfg.val_evaluator, classwise=True)
    detector.cfg.val_evaluator = [coco, dict(type='mmdet_nrpn.FROCMetric', iou_thrs=0.75, out_file='mine/froc.png')]
    (told,) = sweep(detector, [0], tmp_path / 'out').to_dict('records')
    assert (tmp_path / 'out' / 'weight0' / 'froc.png').exists()
    metric, loader = FROCMetric(iou_thrs=0.75), Runner.build_dataloader(detector.cfg.val_dataloader)
    metric.ground_truth = GroundTruth(loader.dataset)
    with torch.no_grad():
        for batch in loader:
            metric.process(batch, [sample.to_dict() for sample in detector.model.test_step(batch)])
    for key, value in metric.evaluate(len(loader.dataset)).items():
        assert told[key] == pytest.approx(value, nan_ok=True), key
    assert 0 < told['froc/mean_recall'] < 1
    assert 'coco/disc_precision' in told
    assert first_columns(pd.DataFrame([told])) == [f'coco/bbox_mAP{part}' for part in ('', '_50', '_75')]


@pytest.mark.parametrize('kind', [GridRoIHead, MultiInstanceRoIHead, SparseRoIHead])
def test_heads_that_choose_boxes_in_a_way_of_their_own_are_refused(kind):
    with pytest.raises(ValueError, match=f"model.roi_head.type='{kind.__name__}' chooses boxes"):
        with_objectness(kind.__new__(kind))


def test_a_segmentor_is_refused(tmp_path):
    model = PanopticFPN.__new__(PanopticFPN)
    torch.nn.Module.__init__(model)
    object.__setattr__(model, 'roi_head', StandardRoIHead.__new__(StandardRoIHead))
    with pytest.raises(ValueError, match="model.type='PanopticFPN' returns segments"):
        sweep(Detector(None, model, False), [0], tmp_path)
