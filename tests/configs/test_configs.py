import re
import subprocess
import warnings
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config

PAPER = ('paper-nrpn', 'paper-nrpn-overlap')
RANKING = ('nrpn', 'nrpn-focal')
CONFIGS = sorted((Path(__file__).parents[2] / 'configs' / 'nrpn').glob('*.py'))
# a test of its own trains them: tests/models/detectors/test_ignoring_soft_teacher.py
TEACHERS = [path for path in CONFIGS if 'soft-teacher' in path.stem]
STOCK = ('rpn', 'rpn-focal', 'faster-rcnn', 'soft-teacher')


def load(path):
    cfg = Config.fromfile(path)
    detector_of(cfg).backbone.init_cfg = None  # offline
    return cfg


def detector_of(cfg):
    """The part of the model that has the RPN: the model itself, or a teacher's detector."""
    return cfg.model.get('detector', cfg.model)


def synthetic_batch():
    """An image of 64x96 with two objects."""
    batch = demo_mm_inputs(1, [[3, 64, 96]], num_items=[2], num_classes=2, with_mask=True)
    batch['data_samples'][0].set_metainfo(dict(pad_shape=(64, 96)))
    return batch


@pytest.mark.slow
@pytest.mark.parametrize('path', [path for path in CONFIGS if path not in TEACHERS], ids=lambda path: path.stem)
def test_builds_trains_a_step_and_predicts(path):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*(NRPN|HardNegative).*')
        model = MODELS.build(load(path).model)
    model.init_weights()
    batch = synthetic_batch()
    loss, logged = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    method = path.stem.split('_')[0]
    assert ('loss_nrpn_cls' in logged) is ('nrpn' in method)
    assert ('loss_nrpn_bbox' in logged) is (method in PAPER)
    assert ('rpn_hard_neg_score' in logged) is (method in PAPER)
    assert ('loss_rpn_rank' in logged) is (method in RANKING)
    model.eval()
    with torch.no_grad():
        (result,) = model(**model.data_preprocessor(batch, False), mode='predict')
    # a detector that has learnt nothing need not find anything
    assert 'rcnn' in path.stem or len(result.pred_instances) > 0


@pytest.mark.parametrize('method', ['rpn-focal', 'nrpn-focal', 'paper-nrpn-overlap'])
def test_losses_are_as_large_as_stocks(method, repo):
    """With weights of 1, 1 and 0.1 their gradients are 20 to 40 times as large, and SGD at stock's rate ends in NaN."""
    gradients = []
    for name in ('rpn', method):
        torch.manual_seed(0)
        model = MODELS.build(load(repo / 'configs' / 'nrpn' / f'{name}_r18-w16_fpn_demo_shapes.py').model)
        model.init_weights()
        torch.nn.init.constant_(model.bbox_head.rpn_cls.bias, -4.6)  # all from the same objectness
        batch = demo_mm_inputs(2, [[3, 256, 256]] * 2, num_items=[5, 5], num_classes=2)
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        boxes, objectness = (
            torch.autograd.grad(
                sum(sum(losses.get(f'loss_rpn_{name}', [])) for name in names), weight, retain_graph=True
            )
            for names, weight in (
                (['bbox'], model.bbox_head.rpn_reg.weight),
                (['cls', 'rank'], model.bbox_head.rpn_cls.weight),
            )
        )
        gradients.append(torch.stack([boxes[0].norm(), objectness[0].norm()]))
    stock, ours = gradients
    assert (ours < 6 * stock).all() and (ours > stock / 6).all()


def test_the_readme_says_what_each_is_for(repo):
    text = (repo / 'configs' / 'nrpn' / 'README.md').read_text().partition('## Which is for what')[2]
    patterns = re.findall(r'^\| `([^`]+)` \|', text, re.M)
    # as bash expands them
    expanded = subprocess.check_output(['bash', '-c', f'echo {" ".join(patterns)}'], text=True).split()
    assert sorted(expanded) == sorted(path.stem for path in CONFIGS)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_does_what_its_name_says(path):
    cfg = load(path)
    method, *rest = path.stem.split('_')
    detector = detector_of(cfg)
    head, sampler = detector.rpn_head, detector.train_cfg.rpn.sampler
    assert (head.loss_cls.type == 'OverlapLoss') is ('overlap' in method)
    assert (head.loss_cls.type == 'FocalLoss') is ('focal' in method)
    assert (sampler.type == 'NRPNSampler') is (method in PAPER)
    assert (head.type == 'RPNHead') is (method in STOCK)
    assert (head.get('loss_rank') is not None) is (method in RANKING)
    if path in TEACHERS:
        assert cfg.model.type == ('IgnoringSoftTeacher' if method in RANKING else 'SoftTeacher')
    data = cfg.train_dataloader.dataset
    if rest[-1] in ('coco', 'voc07'):
        assert data.type == dict(coco='CocoDataset', voc07='VOCDataset')[rest[-1]]
    assert (detector is not cfg.model) is (path in TEACHERS)
    is_rpn = cfg.model.type == 'RPN'
    assert is_rpn is not any('rcnn' in part for part in (method, *rest))
    assert (cfg.val_evaluator.type == 'ProposalMetric') is is_rpn


def test_the_environment_names_root_and_splits(monkeypatch, repo):
    path = repo / 'configs' / 'nrpn' / 'rpn_r50-caffe_fpn_1x_voc07.py'
    for key in ('VOC_ROOT', 'VOC_TRAIN', 'VOC_VAL'):
        monkeypatch.delenv(key, raising=False)
    stock = Config.fromfile(path)
    assert stock.train_dataloader.dataset.data_root == 'data/VOCdevkit/'
    assert stock.train_dataloader.dataset.ann_file == 'VOC2007/ImageSets/Main/trainval.txt'
    assert stock.val_dataloader.dataset.ann_file == 'VOC2007/ImageSets/Main/test.txt'
    for key, value in dict(VOC_ROOT='elsewhere/', VOC_TRAIN='train', VOC_VAL='val').items():
        monkeypatch.setenv(key, value)
    mine = Config.fromfile(path)
    assert mine.train_dataloader.dataset.data_root == 'elsewhere/'
    assert mine.train_dataloader.dataset.ann_file == 'VOC2007/ImageSets/Main/train.txt'
    assert mine.test_dataloader.dataset.ann_file == 'VOC2007/ImageSets/Main/val.txt'


@pytest.mark.parametrize('path', [path for path in CONFIGS if 'faster-rcnn_r50_fpn_1x_own' in path.stem], ids=str)
def test_a_detectors_template_is_the_stock_one_with_the_base_that_docs_name(path, repo, tmp_path):
    (base,) = re.findall(r"`(_base_ = \['mmdet::.+'\])`", (repo / 'docs' / 'get_started.md').read_text())
    copy = tmp_path / path.name
    copy.write_text(re.sub(r'_base_ = \[.+\]', base, path.read_text()))
    stock, ours = Config.fromfile(copy), Config.fromfile(path)
    assert (stock.model.rpn_head.type, ours.model.rpn_head.type) == ('RPNHead', 'HardNegativeRPNHead')
    assert stock.model.roi_head == ours.model.roi_head and stock.model.roi_head.bbox_head.num_classes == 2
    for key in ('train_dataloader', 'val_dataloader', 'optim_wrapper', 'load_from'):
        assert stock[key] == ours[key]


@pytest.mark.parametrize(
    'path', [path for path in CONFIGS if path.stem.split('_')[0] in RANKING], ids=lambda path: path.stem
)
def test_ranking_stands_beside_focal_loss_in_an_rpn_and_beside_its_own_losses_in_a_detector(path):
    cfg = load(path)
    detector = detector_of(cfg)
    head, sampler = (
        detector.get('rpn_head') or detector.bbox_head,
        detector.train_cfg.get('rpn', detector.train_cfg).sampler,
    )
    weights = [loss.loss_weight for loss in (head.loss_cls, head.loss_bbox, head.loss_rank)]
    if 'roi_head' in detector:
        assert weights == [1.0, 1.0, 0.01] and sampler.type == 'RandomSampler'
        assert head.loss_cls.type == 'CrossEntropyLoss' and 'init_cfg' not in head
    else:
        assert weights == [0.1, 0.1, 0.01] and sampler.type == 'PseudoSampler'


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_auto_scale_lr_leaves_the_rate_of_one_gpu(path):
    """A rate that is made for the config's batch is not made for it a second time."""
    cfg = Config.fromfile(path)
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if base is None or base == 16 and cfg.optim_wrapper.optimizer.lr == 0.02:  # MMDetection's, for 8 GPUs of 2 images
        return
    assert base == cfg.train_dataloader.batch_size
