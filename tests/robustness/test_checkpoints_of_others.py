import logging
import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint


@pytest.fixture
def make(repo):
    def build(method):
        cfg = Config.fromfile(repo / 'configs' / 'nrpn' / f'{method}_r18-w16_fpn_demo_shapes.py')
        model = MODELS.build(cfg.model)
        model.init_weights()
        return model

    return build


@pytest.fixture
def printed(caplog):
    """What loading a checkpoint says, a line an entry."""
    logger = MMLogger.get_instance('upgrades')
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    yield lambda: '\n'.join(caplog.messages).splitlines()
    logger.removeHandler(caplog.handler)


def test_a_stock_checkpoint_starts_a_fresh_nrpn_and_says_so_in_a_line(make, printed, tmp_path):
    stock, ours = make('rpn'), make('paper-nrpn')
    fresh = {key: value.clone() for key, value in ours.state_dict().items() if 'nrpn_head' in key}
    torch.save(dict(state_dict=stock.state_dict()), tmp_path / 'stock.pth')
    load_checkpoint(ours, str(tmp_path / 'stock.pth'), strict=True, logger='current')
    assert [line for line in printed() if 'NRPN' in line or 'missing' in line] == [
        'The checkpoint holds no PaperNRPNHead of this shape; the nRPN starts from new weights'
    ]
    loaded = ours.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in fresh.items()) and len(fresh) == 6
    assert all(torch.equal(loaded[key], value) for key, value in stock.state_dict().items())


def test_nrpns_checkpoint_loads_into_the_stock_config(make, printed, tmp_path):
    stock, ours = make('rpn'), make('paper-nrpn')
    torch.save(dict(state_dict=ours.state_dict()), tmp_path / 'ours.pth')
    load_checkpoint(stock, str(tmp_path / 'ours.pth'), logger='current')
    told = '\n'.join(printed())
    assert len(set(re.findall(r'nrpn_head\.[a-z_.]+', told))) == 6 and 'missing' not in told
    assert all(torch.equal(value, ours.state_dict()[key]) for key, value in stock.state_dict().items())


def test_a_detectors_checkpoint_loads_as_well(repo, printed, tmp_path):
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / 'nrpn_faster-rcnn_r50_fpn_1x_coco.py').model
    cfg.backbone.update(depth=18, base_channels=8, init_cfg=None)
    cfg.neck.in_channels = [8, 16, 32, 64]
    ours = MODELS.build(cfg)
    cfg.rpn_head.type = 'RPNHead'
    for key in ('nrpn_head', 'loss_rank', 'hardness'):
        del cfg.rpn_head[key]
    cfg.train_cfg.rpn.sampler = dict(
        type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False
    )
    stock = MODELS.build(cfg)
    torch.save(dict(state_dict=stock.state_dict()), tmp_path / 'stock.pth')
    load_checkpoint(ours, str(tmp_path / 'stock.pth'), strict=True, logger='current')
    assert sum('the nRPN starts from new weights' in line for line in printed()) == 1


@pytest.mark.parametrize('there, here', [('paper-nrpn', 'nrpn-focal'), ('nrpn-focal', 'paper-nrpn')])
def test_a_checkpoint_with_another_nrpn_starts_a_fresh_one_and_says_so(make, printed, tmp_path, there, here):
    ours = make(here)
    fresh = {key: value.clone() for key, value in ours.state_dict().items() if 'nrpn_head' in key}
    state = make(there).state_dict()
    state['bbox_head.rpn_cls.weight'] = torch.randn_like(state['bbox_head.rpn_cls.weight'])
    torch.save(dict(state_dict=state), tmp_path / 'other.pth')
    load_checkpoint(ours, str(tmp_path / 'other.pth'), strict=True, logger='current')
    assert sum('the nRPN starts from new weights' in line for line in printed()) == 1
    loaded = ours.state_dict()
    assert torch.equal(loaded['bbox_head.rpn_cls.weight'], state['bbox_head.rpn_cls.weight'])
    assert fresh and all(torch.equal(loaded[key], value) for key, value in fresh.items())
