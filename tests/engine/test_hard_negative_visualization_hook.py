import json

import numpy as np
import pytest
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmdet_nrpn import HardNegativeVisualizationHook
from mmdet_nrpn.visualization import DrawnNegatives

CONFIG = """
_base_ = ['{repo}/configs/nrpn/{name}_r18-w16_fpn_demo_shapes.py']
{hook}
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
"""
HOOK = "default_hooks = dict(hard_negatives=dict(type='HardNegativeVisualizationHook', interval=2))"
# so that there are hard draws from the first step on
NO_WARMUP = '\nmodel = dict(train_cfg=dict(rpn=dict(sampler=dict(warmup=0))))'
SHORT = [
    '--cfg-options', 'train_cfg.max_iters=6', 'train_cfg.val_interval=6', 'train_dataloader.batch_size=4',
    'default_hooks.logger.interval=1', 'randomness.seed=0',
]  # fmt: skip
OWN_OBJECTNESS = "\nmodel = dict(rpn_head=dict(hardness='rpn', nrpn_head=None))"
OWN = {'hard_neg_repeats', 'nrpn_fp_recall'}


@pytest.fixture
def train(run_tool, repo, shapes, tmp_path):
    def train(name, hook):
        folder = tmp_path / ('with' if HOOK in hook else 'without')
        (tmp_path / 'mine.py').write_text(CONFIG.format(repo=repo, name=name, hook=hook))
        done = run_tool('tools/train.py', tmp_path / 'mine.py', '--work-dir', folder, *SHORT, SHAPES_ROOT=f'{shapes}/')
        return done, folder

    return train


def losses(folder):
    (file,) = folder.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{k: v for k, v in row.items() if 'loss' in k or 'score' in k} for row in rows if 'loss' in row]


@pytest.mark.slow
def test_tensorboard_has_it_and_training_is_the_same(train):
    done, folder = train('nrpn-overlap', HOOK + NO_WARMUP)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob('*/vis_data/events.out.tfevents.*')
    events = EventAccumulator(str(file)).Reload()
    assert {*OWN, 'nrpn_false_positives', 'rpn_hard_neg_score', 'rpn_random_neg_score'} <= {*events.Tags()['scalars']}
    # 12 pictures, 4 a step: from the fourth step on they have been seen before
    assert [event.step for event in events.Scalars('hard_neg_repeats')] == [4, 5, 6]
    assert all(0 <= event.value <= 1 for name in OWN for event in events.Scalars(name))
    images = events.Images('hard_negatives')
    assert [image.step for image in images] == [2, 4, 6]
    assert images[0].encoded_image_string.startswith(b'\x89PNG') and images[0].width > 500
    assert len([*folder.glob('*/vis_data/vis_image/hard_negatives_*.png')]) == 3

    done, without = train('nrpn-overlap', NO_WARMUP)
    assert done.returncode == 0, done.stderr
    assert losses(without) == losses(folder)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['nrpn', 'nrpn-rank', 'rpn'])
def test_other_heads(train, name):
    """Without an nRPN; with one whose negatives are ranked and not sampled; and the stock head."""
    done, folder = train(name, HOOK + OWN_OBJECTNESS * (name == 'nrpn'))
    if name == 'rpn':  # says so before the first step
        assert done.returncode != 0 and not [*folder.glob('*.pth')]
        assert "write rpn_head=dict(type='HardNegativeRPNHead'), or leave the hook out" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert len([*folder.glob('*/vis_data/vis_image/hard_negatives_*.png')]) == 3


@pytest.fixture
def repeats():
    """What the hook logs when a picture's hard draws are these, one call a step."""
    hook = HardNegativeVisualizationHook()

    class Runner:
        message_hub = None

    def step(hard, name='a.jpg', zoom=1, **meta):
        drawn = DrawnNegatives(np.array(hard, dtype=np.float32).reshape(-1, 4), None)
        meta = dict(img_path=name, img_shape=(100 * zoom, 200 * zoom), scale_factor=(zoom, zoom), **meta)
        hook.seen['data'] = dict(data_samples=[DetDataSample(metainfo=meta)])
        Runner.message_hub = MessageHub('fresh')
        hook._log_repeats(Runner, [drawn])
        history = Runner.message_hub.log_scalars.get('train/hard_neg_repeats')
        return None if history is None else history.current()

    return step


def test_repeats_are_of_the_same_picture(repeats):
    first = [[0, 0, 40, 40], [100, 50, 140, 90]]
    assert repeats(first) is None
    assert repeats(first, name='b.jpg') is None
    assert repeats([[100, 50, 140, 90], [0, 50, 40, 90]]) == 0.5
    assert repeats([[50, 0, 90, 40]]) == 0  # against the last draws of it
    assert repeats([[50, 0, 90, 40]]) == 1
    assert repeats([]) is None  # nothing drawn as hard: the last ones stay
    assert repeats([[50, 0, 90, 40]], name=None) is None
    assert repeats([[50, 0, 90, 40]]) == 1


def test_repeats_undo_flips_and_resizing(repeats):
    assert repeats([[10, 20, 50, 60]]) is None
    flip = dict(flip=True, flip_direction='horizontal')
    assert repeats([[150, 20, 190, 60]], **flip) == 1  # the picture is 200 wide
    assert repeats([[300, 40, 380, 120]], zoom=2, **flip) == 1
    assert repeats([[10, 20, 50, 60]], **flip) == 0


def test_arguments_are_checked():
    with pytest.raises(ValueError, match='interval must be >= 1, got interval=0'):
        HardNegativeVisualizationHook(interval=0)
