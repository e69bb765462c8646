import json
import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

pytestmark = pytest.mark.slow
TOOL = 'tools/analysis_tools/browse_hard_negatives.py'
SHORT = [
    '--cfg-options', 'train_cfg.max_iters=3', 'train_cfg.val_interval=3', 'train_dataloader.batch_size=2',
    'default_hooks.logger.interval=1', 'randomness.seed=0',
]  # fmt: skip

FASTER = """
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', '{configs}/_base_/datasets/shapes.py',
          '{configs}/_base_/schedules/schedule_demo.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64]),
    rpn_head=dict(type='HardNegativeRPNHead'),
    roi_head=dict(bbox_head=dict(num_classes=3)),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler')), rpn_proposal=dict(max_per_img=20)),
)
default_hooks = dict(hard_negatives=dict(type='HardNegativeVisualizationHook', interval=3))
"""


def test_a_detector_beside_one_without_nrpn(run_tool, repo, shapes, tmp_path):
    config, work_dir, page = tmp_path / 'faster.py', tmp_path / 'work', tmp_path / 'new' / 'page.html'
    config.write_text(FASTER.format(configs=repo / 'configs' / 'nrpn'))
    train = run_tool('tools/train.py', config, '--work-dir', work_dir, *SHORT, SHAPES_ROOT=f'{shapes}/')
    assert train.returncode == 0, train.stderr
    assert len([*work_dir.glob('*/vis_data/vis_image/hard_negatives_3.png')]) == 1
    mine = work_dir / 'iter_3.pth'
    stripped = run_tool('tools/model_converters/strip_nrpn.py', mine, tmp_path / 'stock')
    assert stripped.returncode == 0, stripped.stderr
    (stock,) = (tmp_path / 'stock').glob('*.pth')

    done = run_tool(TOOL, config, mine, '--baseline', config, stock, '--out', page, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    data = json.loads(re.search('application/json">(.*?)</script>', page.read_text(), re.S)[1])
    assert data['names'] == [str(stock), str(mine)] and len(data['pictures']) == 4
    for picture in data['pictures']:
        before, after = picture['sides']
        assert before['regions'] is None and len(after['regions']) > 0
        # the RPN is the same one; only what nRPN says of a false positive is not there
        assert before['found'] == after['found']
        assert [box[:5] for box in before['false']] == [box[:5] for box in after['false']]
        assert all(box[5] >= box[4] for box in after['false'])  # the other has it, too


def test_a_checkpoint_that_does_not_fit_is_refused(run_tool, repo, shapes, tmp_path):
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(16, 3, 7, 7)}), tmp_path / 'other.pth')
    config = 'configs/nrpn/nrpn_r18-w16_fpn_demo_shapes.py'
    done = run_tool(TOOL, config, tmp_path / 'other.pth', '--out', tmp_path / 'page.html', SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1 and 'other.pth is of another model: ' in done.stderr
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(64, 3, 7, 7)}), tmp_path / 'other.pth')
    done = run_tool(TOOL, config, tmp_path / 'other.pth', '--out', tmp_path / 'page.html', SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1 and 'size mismatch for backbone.conv1.weight' in done.stderr
    assert not (tmp_path / 'page.html').exists()


def test_pictures_without_objects_loaded_are_refused(run_tool, repo, shapes, tmp_path):
    base = repo / 'configs' / 'nrpn' / 'rpn_r18-w16_fpn_demo_shapes.py'
    config = tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = ['{base}']\npipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]\n"
        'val_dataloader = dict(dataset=dict(pipeline=pipeline))'
    )
    torch.save(MODELS.build(Config.fromfile(config).model).state_dict(), tmp_path / 'new.pth')
    done = run_tool(TOOL, config, tmp_path / 'new.pth', '--out', tmp_path / 'page.html', SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1 and "dict(type='LoadAnnotations', with_bbox=True)" in done.stderr
