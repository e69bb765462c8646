import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MessageHub
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmdet_nrpn import HardNegativeVisualizationHook
from mmdet_nrpn.evaluation import ProposalErrors

CONFIG = """
_base_ = ['{repo}/configs/nrpn/{name}_r18-w16_fpn_demo_shapes.py']
{hook}
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
"""
HOOK = "default_hooks = dict(hard_negatives=dict(type='HardNegativeVisualizationHook', interval=2))"
# so that hard negatives are sampled from the first step on
NO_WARMUP = '\nmodel = dict(train_cfg=dict(rpn=dict(sampler=dict(warmup=0))))'
SHORT = [
    '--cfg-options', 'train_cfg.max_iters=6', 'train_cfg.val_interval=6', 'train_dataloader.batch_size=4',
    'default_hooks.logger.interval=1', 'randomness.seed=0',
]  # fmt: skip
OWN_OBJECTNESS = "\nmodel = dict(rpn_head=dict(hardness='rpn', nrpn_head=None))"


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
    done, folder = train('paper-nrpn-overlap', HOOK + NO_WARMUP)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob('*/vis_data/events.out.tfevents.*')
    events = EventAccumulator(str(file)).Reload()
    assert {'nrpn_false_positives', 'rpn_hard_neg_score', 'rpn_random_neg_score'} <= {*events.Tags()['scalars']}
    recall = events.Scalars('nrpn_fp_recall')
    assert [event.step for event in recall] == [2, 3, 4, 5, 6] and all(0 <= event.value <= 1 for event in recall)
    images = events.Images('hard_negatives')
    assert [image.step for image in images] == [2, 4, 6]
    assert images[0].encoded_image_string.startswith(b'\x89PNG') and images[0].width > 500
    assert len([*folder.glob('*/vis_data/vis_image/hard_negatives_*.png')]) == 3

    done, without = train('paper-nrpn-overlap', NO_WARMUP)
    assert done.returncode == 0, done.stderr
    assert losses(without) == losses(folder)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['paper-nrpn', 'nrpn-focal', 'rpn'])
def test_other_heads(train, name):
    """Without an nRPN; with one whose negatives are ranked and not sampled; and the stock head."""
    done, folder = train(name, HOOK + OWN_OBJECTNESS * (name == 'paper-nrpn'))
    if name == 'rpn':  # says so before the first step
        assert done.returncode != 0 and not [*folder.glob('*.pth')]
        assert "write rpn_head=dict(type='HardNegativeRPNHead'), or leave the hook out" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert len([*folder.glob('*/vis_data/vis_image/hard_negatives_*.png')]) == 3
    if name == 'paper-nrpn':  # warmed up over the first half of the training: none is hard at first
        hard = [row['rpn_hard_neg_score'] for row in losses(folder)]
        assert hard[0] == 0 and min(hard[-3:]) > 0


def test_recall_is_the_share_of_false_positives_that_the_nrpn_predicts(monkeypatch):
    none = np.zeros((0, 4))
    images = [
        ProposalErrors(*[none] * 8, np.array(predicted, dtype=bool)) for predicted in ([True, False, True], [], [True])
    ]
    hook, runner = HardNegativeVisualizationHook(interval=3), SimpleNamespace(message_hub=MessageHub('recall'))
    monkeypatch.setattr(f'{HardNegativeVisualizationHook.__module__}.find_proposal_errors', lambda *args: images)
    hook.head, hook.outputs = None, dict(rpn=None, nrpn=(), data=dict(inputs=None, data_samples=None))
    for runner.iter in range(3):
        assert 'train/nrpn_fp_recall' not in runner.message_hub.log_scalars
        hook.after_train_iter(runner, runner.iter)
    assert runner.message_hub.log_scalars['train/nrpn_fp_recall'].current() == 3 / 4


@pytest.mark.parametrize(
    'name, base, inside',
    [
        ('SoftTeacher', 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
         'student.rpn_head, teacher.rpn_head'),
        ('QDTrack', 'qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py',
         'detector.rpn_head'),
    ],
)  # fmt: skip
def test_detectors_with_an_rpn_inside_are_refused_before_training(name, base, inside, tmp_path):
    (tmp_path / 'mine.py').write_text(f"_base_ = ['mmdet::{base}']")
    model = Config.fromfile(tmp_path / 'mine.py').model
    model.detector.backbone.init_cfg, model.detector.rpn_head.type = None, 'HardNegativeRPNHead'

    class Runner:
        pass

    Runner.model = MODELS.build(model)
    words = f'HardNegativeVisualizationHook: {name} has no RPN of its own, only those of detectors inside ({inside}); '
    with pytest.raises(
        ValueError, match=re.escape(words + 'give the config of a detector with one, or leave the hook out')
    ):
        HardNegativeVisualizationHook().before_train(Runner)


def test_arguments_are_checked():
    for interval in (0, 1.5, '200', True):
        with pytest.raises(ValueError, match=f'interval must be an integer >= 1, got interval={interval!r}'):
            HardNegativeVisualizationHook(interval=interval)
    whole = HardNegativeVisualizationHook(interval=2.0, num_images=2.0, num_boxes=3.0)
    assert [1, 2, 3, 4][: whole.num_images] == [1, 2] and [1, 2, 3, 4][: whole.num_boxes] == [1, 2, 3]
