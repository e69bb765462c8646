import hashlib
import json
import os

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.runner import load_checkpoint

TOOL = 'tools/fold/strip.py'
# predictions of a stock RPN where mmdet_nrpn cannot be imported
STOCK = """
import json, sys
assert 'mmdet_nrpn' not in sys.modules
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
    logits = torch.cat([level.flatten() for level in model.bbox_head(model.extract_feat(batch['inputs']))[0]])
instances = sample.pred_instances
print(json.dumps([instances.bboxes.tolist(), instances.scores.tolist(), logits.tolist()]))
"""
EMA = "custom_hooks = [dict(type='EMAHook', momentum=0.3)]"
SHORT = [
    '--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=9', 'train_dataloader.batch_size=2',
    'default_hooks.checkpoint.interval=2', 'optim_wrapper.optimizer.lr=0.05',
]  # fmt: skip


@pytest.fixture
def strip(run_tool, tmp_path):
    """Run the tool on a checkpoint with this content: the finished process, and the file that it wrote."""

    def run(content, *options):
        torch.save(content, tmp_path / 'a.pth')
        done = run_tool(TOOL, tmp_path / 'a.pth', tmp_path / 'out', *options)
        return done, max((tmp_path / 'out').glob('*'), key=lambda path: path.stat().st_mtime_ns, default=None)

    return run


def predicted(config, checkpoint, fold):
    """By the training model itself, whose RPN's logits are s - fold * n: boxes, scores and all logits."""
    model = MODELS.build(Config.fromfile(config).model).eval()
    load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    head = model.bbox_head
    with torch.no_grad():
        batch = model.data_preprocessor(demo_mm_inputs(1, [[3, 64, 96]]), False)
        (cls_scores, bbox_preds), hidden = head.forward_with_hidden(model.extract_feat(batch['inputs']))
        if fold:
            cls_scores = [s - fold * n for s, n in zip(cls_scores, head.nrpn_head(hidden))]
        metas = [sample.metainfo for sample in batch['data_samples']]
        (result,) = head.predict_by_feat(cls_scores, bbox_preds, batch_img_metas=metas, rescale=True)
    return result.bboxes, result.scores, torch.cat([level.flatten() for level in cls_scores])


@pytest.mark.slow
@pytest.mark.parametrize('method, fold, more_lines', [('paper-nrpn', 0, ''), ('nrpn-focal', 0.7, EMA)])
def test_a_stock_model_loads_it_strictly_and_predicts_the_same(
    run_tool, repo, shapes, tmp_path, method, fold, more_lines
):
    """After two steps, so that the nRPN has learnt something."""
    config, trained = tmp_path / 'config.py', tmp_path / 'work' / 'iter_2.pth'
    config.write_text(f"_base_ = ['{repo}/configs/nrpn/{method}_r18-w16_fpn_demo_shapes.py']\n{more_lines}\n")
    done = run_tool('tools/train.py', config, '--work-dir', trained.parent, *SHORT, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr
    assert ('ema_state_dict' in torch.load(trained, weights_only=False)) is bool(more_lines)
    done = run_tool(TOOL, trained, tmp_path / 'out', '--fold', fold)
    assert done.returncode == 0, done.stderr
    (published,) = (tmp_path / 'out').iterdir()
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published.name == f'iter_2{f"-fold{fold}" if fold else ""}-{digest[:8]}.pth'
    assert published.stat().st_size < 0.6 * trained.stat().st_size
    (tmp_path / 'stock.py').write_text(STOCK)
    stock = run_tool(tmp_path / 'stock.py', published)
    assert stock.returncode == 0, stock.stderr
    bboxes, scores, logits = map(torch.tensor, json.loads(stock.stdout.splitlines()[-1]))
    expected = predicted(config, trained, fold)
    # scores alone: boxes of nearly equal scores may change places
    torch.testing.assert_close(logits, expected[2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores, expected[1], rtol=1e-5, atol=1e-5)
    if fold == 0:
        assert torch.equal(bboxes, expected[0]) and torch.equal(scores, expected[1])
    else:
        assert (predicted(config, trained, 0)[2] - logits).abs().max() > 1e-3


def test_every_rpn_is_folded_after_averaging(strip):
    """A teacher's and a student's; EMAHook saves the averaged weights as state_dict, the last step's beside them."""
    torch.manual_seed(0)
    names = [f'{model}.rpn_head.{part}' for model in ('teacher', 'student') for part in ('', 'nrpn_head.n')]
    state = {f'{name}rpn_cls.{end}': torch.randn(3) for name in names for end in ('weight', 'bias')}
    last = {key: value + 100 for key, value in state.items()}
    for options, fold in (([], 0), (['--fold', '0'], 0), (['--fold', '0.5'], 0.5)):
        done, published = strip(dict(state_dict=state, ema_state_dict=last), *options)
        assert done.returncode == 0, done.stderr
        written = torch.load(published, weights_only=True)
        assert written.keys() == {'state_dict', 'meta'} and written['meta'] == dict(fold=fold)
        assert published.name.startswith('a-fold0.5-' if fold else 'a-')
        assert list(written['state_dict']) == [key for key in state if 'nrpn' not in key]
        for key, value in written['state_dict'].items():
            subtracted = fold * state[key.replace('rpn_cls', 'nrpn_head.nrpn_cls')]
            torch.testing.assert_close(value, state[key] - subtracted, rtol=1e-6 * fold, atol=1e-6 * fold)


@pytest.mark.parametrize(
    'meta, expected',
    [
        (None, {}),
        (dict(epoch=2, cfg="type='NRPNHead'"), dict(epoch=2)),
        (
            dict(seed=np.int64(3), dataset_meta=dict(classes=('a',), palette=np.eye(2), sizes=[np.ones(2)])),
            dict(seed=3, dataset_meta=dict(classes=('a',), palette=[[1, 0], [0, 1]], sizes=[[1, 1]])),
        ),
    ],
)
def test_everybody_can_read_it_and_what_it_comes_from_is_kept(strip, tmp_path, meta, expected):
    state = {'rpn_head.nrpn_head.a': torch.zeros(1), 'rpn_head.b': torch.ones(1)}
    done, published = strip(dict(state_dict=state, meta=meta))
    assert done.returncode == 0, done.stderr
    assert published.stat().st_mode == (tmp_path / 'a.pth').stat().st_mode
    written = torch.load(published, weights_only=True)
    assert written['meta'] == dict(expected, fold=0) and list(written['state_dict']) == ['rpn_head.b']


class Harmful:
    def __reduce__(self):
        return (os.system, ('touch harmed',))


@pytest.mark.parametrize(
    'content, words',
    [
        (dict(state_dict={'rpn_head.nrpn_head.rpn_conv.weight': torch.zeros(1)}), 'is no NRPNHead'),
        (dict(state_dict={'rpn_head.nrpn_head.rpn_cls.weight': torch.zeros(1)}), 'leave --fold out'),
        (dict(model=dict()), "has no 'state_dict'"),
        (dict(state_dict={'rpn_head.rpn_cls.weight': torch.zeros(1)}), "no weights called '…nrpn_head.…'"),
        (dict(state_dict={'rpn_head.nrpn_head.a': torch.zeros(1)}, more=Harmful()), 'system'),
    ],
)
def test_refuses_what_is_no_checkpoint_of_ours(strip, repo, tmp_path, content, words):
    done, _ = strip(content, '--fold', '0.5')
    assert done.returncode == 1 and words in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists() and not (repo / 'harmed').exists()


@pytest.mark.parametrize('size', [0, 2000])
def test_refuses_a_file_that_was_cut_short(run_tool, tmp_path, size):
    torch.save(dict(state_dict={'rpn_head.nrpn_head.a': torch.zeros(1000)}), tmp_path / 'a.pth')
    os.truncate(tmp_path / 'a.pth', size)
    done = run_tool(TOOL, tmp_path / 'a.pth', tmp_path / 'out')
    assert done.returncode == 1 and 'cannot be read' in done.stderr and 'Traceback' not in done.stderr
