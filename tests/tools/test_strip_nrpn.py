import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

TOOL = 'tools/model_converters/strip_nrpn.py'
# predictions of a stock RPN where mmdet_nrpn cannot be imported
STOCK = """
import json, sys
sys.modules['mmdet_nrpn'] = None
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
register_all_modules()
cfg = Config.fromfile('configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py', import_custom_modules=False)
model = MODELS.build(cfg.model).eval()
model.load_state_dict(torch.load(sys.argv[1], weights_only=True)['state_dict'], strict=True)
with torch.no_grad():
    batch = model.data_preprocessor(demo_mm_inputs(1, [[3, 64, 96]]), False)
    (sample,) = model(**batch, mode='predict')
print(json.dumps([sample.pred_instances.bboxes.tolist(), sample.pred_instances.scores.tolist()]))
"""


@pytest.mark.slow
def test_a_stock_model_loads_it_strictly_and_predicts_the_same(run_tool, repo, shapes, tmp_path):
    config, work = 'configs/nrpn/nrpn_r18-w16_fpn_demo_shapes.py', tmp_path / 'work'
    options = ['train_cfg.max_iters=2', 'train_cfg.val_interval=9', 'train_dataloader.batch_size=2']
    done = run_tool(
        'tools/train.py', config, '--work-dir', work, '--cfg-options', *options, 'default_hooks.checkpoint.interval=2',
        SHAPES_ROOT=f'{shapes}/',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trained = work / 'iter_2.pth'
    done = run_tool(TOOL, trained, tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    (published,) = (tmp_path / 'out').iterdir()
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published.name == f'iter_2-{digest[:8]}.pth'
    assert published.stat().st_size < 0.6 * trained.stat().st_size

    stock = subprocess.run(
        [sys.executable, '-c', STOCK, str(published)],
        cwd=repo, env={**os.environ, 'SHAPES_ROOT': f'{shapes}/'}, capture_output=True, text=True,
    )  # fmt: skip
    assert stock.returncode == 0, stock.stderr
    bboxes, scores = json.loads(stock.stdout.splitlines()[-1])

    from mmdet.registry import MODELS
    from mmdet.testing import demo_mm_inputs
    from mmengine.config import Config
    from mmengine.runner import load_checkpoint

    ours = MODELS.build(Config.fromfile(repo / config).model).eval()
    load_checkpoint(ours, str(trained), map_location='cpu')
    with torch.no_grad():
        (sample,) = ours(**ours.data_preprocessor(demo_mm_inputs(1, [[3, 64, 96]]), False), mode='predict')
    assert sample.pred_instances.bboxes.tolist() == bboxes and sample.pred_instances.scores.tolist() == scores


def test_what_it_writes_is_readable_by_others_and_holds_plain_values_alone(run_tool, tmp_path):
    state = {'rpn_head.nrpn_head.a': torch.zeros(1), 'rpn_head.b': torch.ones(1)}
    meta = dict(seed=np.int64(3), epoch=2, dataset_meta=dict(classes=('a',)), cfg="type='NRPNHead'")
    torch.save(dict(state_dict=state, meta=meta), tmp_path / 'a.pth')
    done = run_tool(TOOL, tmp_path / 'a.pth', tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    (published,) = (tmp_path / 'out').iterdir()
    assert published.stat().st_mode == (tmp_path / 'a.pth').stat().st_mode
    written = torch.load(published, weights_only=True)
    assert written['meta'] == dict(epoch=2, dataset_meta=dict(classes=('a',)))
    assert list(written['state_dict']) == ['rpn_head.b']


class Harmful:
    def __reduce__(self):
        return (os.system, ('touch harmed',))


@pytest.mark.parametrize(
    'content, words',
    [
        (dict(model=dict()), "has no 'state_dict'"),
        (dict(state_dict={'rpn_head.rpn_cls.weight': torch.zeros(1)}), "no weights called '…nrpn_head.…'"),
        (dict(state_dict={'rpn_head.nrpn_head.a': torch.zeros(1)}, more=Harmful()), 'system'),
    ],
)
def test_refuses_what_is_no_checkpoint_of_ours(run_tool, repo, tmp_path, content, words):
    torch.save(content, tmp_path / 'a.pth')
    done = run_tool(TOOL, tmp_path / 'a.pth', tmp_path / 'out')
    assert done.returncode == 1 and words in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists() and not (repo / 'harmed').exists()


@pytest.mark.parametrize('size', [0, 2000])
def test_refuses_a_file_that_was_cut_short(run_tool, tmp_path, size):
    torch.save(dict(state_dict={'rpn_head.nrpn_head.a': torch.zeros(1000)}), tmp_path / 'a.pth')
    (tmp_path / 'a.pth').write_bytes((tmp_path / 'a.pth').read_bytes()[:size])
    done = run_tool(TOOL, tmp_path / 'a.pth', tmp_path / 'out')
    assert done.returncode == 1 and 'cannot be read' in done.stderr and 'Traceback' not in done.stderr
