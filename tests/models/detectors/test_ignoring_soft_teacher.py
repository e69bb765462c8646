"""What the teacher is unsure of is neither mined, ranked nor sampled as hard. With MMDetection's SoftTeacher it is."""

import copy

import numpy as np
import pytest
import torch
from mmdet.models.task_modules import MaxIoUAssigner
from mmdet.models.utils import filter_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes, bbox_overlaps
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet_nrpn.models.dense_heads import hard_negative_rpn_head

CONFIG = 'nrpn_soft-teacher_faster-rcnn_r18-w16_fpn_demo_semi-shapes.py'
# in the original image of 128 pixels
SURE, UNSURE = [8.0, 8, 40, 40], [64.0, 60, 110, 120]
# the student's input is flipped and 1.5 times as large; here calculated by hand
FLIP_AND_ENLARGE = np.array([[-1.5, 0, 192], [0, 1.5, 0], [0, 0, 1]], np.float32)
SURE_OF_STUDENT, UNSURE_OF_STUDENT = [132.0, 12, 180, 60], [27.0, 90, 96, 180]


@pytest.fixture
def build(repo):
    """The config's model, of one type or the other, with all anchors mined."""

    def build(kind, sampler='PseudoSampler', **semi_train_cfg):
        cfg = Config.fromfile(repo / 'configs' / 'nrpn' / CONFIG).model
        cfg.type = kind
        cfg.semi_train_cfg.update({'pseudo_label_initial_score_thr': 0.5, 'rpn_pseudo_thr': 0.9, **semi_train_cfg})
        cfg.detector.rpn_head.nrpn_head.max_num = 10**6
        if sampler == 'NRPNSampler':
            cfg.detector.train_cfg.rpn.sampler = dict(
                type='NRPNSampler', num=256, pos_fraction=0.5, hard_fraction=1.0, pool_factor=1
            )
        torch.manual_seed(0)
        model = MODELS.build(cfg)
        model.init_weights()
        return model

    return build


def pseudo_instances(*bboxes_and_scores):
    bboxes, scores = zip(*bboxes_and_scores)
    labels = torch.ones(len(scores), dtype=torch.long)
    return InstanceData(bboxes=torch.tensor(bboxes), labels=labels, scores=torch.tensor(scores))


def of_student(model, *bboxes_and_scores):
    """A sample of the student's input as SoftTeacher projects the teacher's boxes into it."""
    teacher = DetDataSample()
    teacher.gt_instances = pseudo_instances(*bboxes_and_scores)
    student = DetDataSample(
        metainfo=dict(
            img_shape=(192, 192), pad_shape=(192, 192), ori_shape=(128, 128), homography_matrix=FLIP_AND_ENLARGE
        )
    )
    student.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    return model.project_pseudo_instances([teacher], [student])


@pytest.fixture
def watch(monkeypatch):
    """Everything that the head mines and ranks, as boxes in pixels of the student's input."""

    def watch(model):
        head, seen = model.student.rpn_head, {}
        mine, rank = hard_negative_rpn_head.mine_candidates, head.loss_rank.forward

        def mining(*args):
            seen['mined'] = mine(*args)
            return seen['mined']

        def ranking(logits, positive, negative, **kwargs):
            seen.update(positive=positive, negative=negative)
            return rank(logits, positive, negative, **kwargs)

        monkeypatch.setattr(hard_negative_rpn_head, 'mine_candidates', mining)
        monkeypatch.setattr(head.loss_rank, 'forward', ranking)
        return seen

    return watch


def anchors_of(model, x):
    sizes = [level.shape[-2:] for level in x]
    return torch.cat(model.student.rpn_head.prior_generator.grid_priors(sizes, device='cpu'))


def rpn_step(model, samples):
    torch.manual_seed(1)
    x = model.student.extract_feat(torch.randn(len(samples), 3, 192, 192))
    losses, _ = model.rpn_loss_by_pseudo_instances(x, samples)
    return losses, anchors_of(model, x)


def on(bboxes, region):
    """How many boxes overlap a region by an IoU of 0.3."""
    return int((bbox_overlaps(bboxes, torch.tensor([region])) >= 0.3).sum())


@pytest.mark.parametrize('kind', ['SoftTeacher', 'IgnoringSoftTeacher'])
def test_no_unsure_region_is_mined_or_ranked(build, watch, kind):
    model = build(kind)
    seen = watch(model)
    samples = of_student(model, (SURE, 0.95), (UNSURE, 0.6))
    assert samples[0].gt_instances.bboxes.tolist() == [SURE_OF_STUDENT, UNSURE_OF_STUDENT]
    losses, anchors = rpn_step(model, samples)
    assert {'loss_rpn_rank', 'loss_nrpn_cls'} <= set(losses)
    false = seen['mined'].bboxes[0][seen['mined'].is_false[0]]
    ranked, above = anchors[seen['negative'][0]], anchors[seen['positive'][0]]
    # sure objects are objects, and the rest of the image is background
    assert on(above, SURE_OF_STUDENT) == len(above) > 0
    assert on(false, SURE_OF_STUDENT) == 0 and len(false) > 1000 and len(ranked) > 1000
    on_unsure = [on(false, UNSURE_OF_STUDENT), on(ranked, UNSURE_OF_STUDENT)]
    assert on_unsure == [0, 0] if kind == 'IgnoringSoftTeacher' else min(on_unsure) > 10


@pytest.mark.parametrize('kind', ['SoftTeacher', 'IgnoringSoftTeacher'])
def test_no_unsure_region_is_sampled_as_hard(build, kind, monkeypatch):
    """Although the nRPN finds it the hardest of all."""
    model = build(kind, sampler='NRPNSampler')
    head = model.student.rpn_head
    samples = of_student(model, (SURE, 0.95), (UNSURE, 0.6))
    learn = head.nrpn_head.loss_and_hardness

    def planted(x, *args):
        losses, hardness = learn(x, *args)
        is_unsure = bbox_overlaps(anchors_of(model, x), torch.tensor([UNSURE_OF_STUDENT]))[:, 0] > 0.3
        return losses, hardness + 100 * is_unsure

    monkeypatch.setattr(head.nrpn_head, 'loss_and_hardness', planted)
    losses, anchors = rpn_step(model, samples)
    (result,) = head.sampling_results
    assert len(result.hard_anchors) > 200
    on_unsure = on(anchors[result.hard_anchors], UNSURE_OF_STUDENT)
    assert on_unsure == 0 if kind == 'IgnoringSoftTeacher' else on_unsure > 10


@pytest.mark.parametrize('kind', ['SoftTeacher', 'IgnoringSoftTeacher'])
def test_whatever_a_teacher_finds_between_the_thresholds(build, watch, kind, monkeypatch):
    """A whole step with a teacher's own boxes, which are ones of low scores: it has learnt nothing."""
    model = build(kind, pseudo_label_initial_score_thr=0.0, rpn_pseudo_thr=0.9)
    monkeypatch.setattr(model.teacher.test_cfg.rcnn, 'max_per_img', 3)
    seen = watch(model)
    batches = {
        branch: demo_mm_inputs(2, [[3, 96, 128], [3, 128, 128]], num_items=[2, 2], num_classes=3)
        for branch in ('sup', 'unsup_teacher', 'unsup_student')
    }
    for branch, matrix in (('unsup_teacher', np.eye(3, dtype=np.float32)), ('unsup_student', FLIP_AND_ENLARGE)):
        for sample in batches[branch]['data_samples']:
            sample.set_metainfo(dict(homography_matrix=matrix))
    batch = {key: {branch: data[key] for branch, data in batches.items()} for key in ('inputs', 'data_samples')}
    data = model.data_preprocessor(batch, True)
    losses = model(**data, mode='loss')
    total, logged = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total) and 'unsup_loss_rpn_rank' in logged and 'sup_loss_rpn_rank' in logged
    # the last step that was watched is the one on unlabelled images
    on_unsure, num_unsure = 0, 0
    for sample, bboxes, is_false in zip(
        data['data_samples']['unsup_student'], seen['mined'].bboxes, seen['mined'].is_false
    ):
        assert (sample.gt_instances.scores < 0.9).all()
        num_unsure += len(sample.gt_instances)
        on_unsure += sum(on(bboxes[is_false], region) for region in sample.gt_instances.bboxes.tolist())
    assert num_unsure > 0
    assert on_unsure == 0 if kind == 'IgnoringSoftTeacher' else on_unsure > 10


def test_a_teacher_that_is_sure_of_all_gives_the_losses_of_softteacher(build):
    losses = []
    for kind in ('SoftTeacher', 'IgnoringSoftTeacher'):
        model = build(kind)
        losses.append(rpn_step(model, of_student(model, (SURE, 0.95), (UNSURE, 0.91)))[0])
    assert losses[0].keys() == losses[1].keys()
    for key, value in losses[0].items():
        torch.testing.assert_close(losses[1][key], value, rtol=0, atol=0)


@pytest.mark.parametrize('score', [0.5, 0.7, 0.9])
def test_a_box_is_an_object_or_ignored_and_never_lost(build, monkeypatch, score):
    """Also one whose score is a threshold; what was ignored before stays so, and the samples stay as they are."""
    model = build('IgnoringSoftTeacher', rpn_pseudo_thr=0.7)
    samples = of_student(model, (SURE, score), (UNSURE, 0.6))
    before = [[100.0, 100, 120, 120]]
    samples[0].ignored_instances = InstanceData(bboxes=torch.tensor(before))
    kept = copy.deepcopy(samples)
    handed_on = []
    head = model.student.rpn_head
    monkeypatch.setattr(head, 'loss_and_predict', lambda x, samples, **_: handed_on.extend(samples) or ({}, []))
    rpn_step(model, samples)
    objects, ignored = handed_on[0].gt_instances.bboxes.tolist(), handed_on[0].ignored_instances.bboxes.tolist()
    is_object = score > 0.7
    assert objects == filter_gt_instances(kept, score_thr=0.7)[0].gt_instances.bboxes.tolist()
    assert objects == [SURE_OF_STUDENT] * is_object
    assert ignored == before + [SURE_OF_STUDENT] * (not is_object) + [UNSURE_OF_STUDENT]
    assert samples[0].ignored_instances.bboxes.tolist() == before and len(samples[0].gt_instances) == 2


class FieldReadingAssigner(MaxIoUAssigner):
    """Reads all that an ignored object has."""

    fields: tuple

    def assign(self, pred_instances, gt_instances, gt_instances_ignore=None, **kwargs):
        self.seen = {field: gt_instances_ignore[field] for field in self.fields}
        return super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)


EARLIER = [100.0, 100, 120, 120]
EARLIER_IGNORED = dict(
    nothing=InstanceData(bboxes=torch.zeros(0, 4)),
    labelled=InstanceData(bboxes=torch.tensor([EARLIER]), labels=torch.tensor([2])),
    scored=InstanceData(bboxes=HorizontalBoxes([EARLIER]), labels=torch.tensor([2]), scores=torch.tensor([0.25])),
    numpy=InstanceData(bboxes=np.array([EARLIER]), labels=np.array([2]), reason=['crowd']),
    boxes_alone=InstanceData(bboxes=np.array([EARLIER])),
)


@pytest.mark.parametrize('earlier', EARLIER_IGNORED)
def test_what_is_ignored_reaches_the_assigner_whole(build, earlier):
    """With every field that all ignored objects of the image have."""
    model = build('IgnoringSoftTeacher')
    samples = of_student(model, (SURE, 0.95), (UNSURE, 0.625))
    samples[0].ignored_instances = given = copy.deepcopy(EARLIER_IGNORED[earlier])
    before = {} if earlier == 'nothing' else dict(bboxes=[EARLIER], labels=[2], scores=[0.25])
    own = dict(bboxes=[UNSURE_OF_STUDENT], labels=[1], scores=[0.625])
    fields = [key for key in own if not before or key in given]
    assigner = FieldReadingAssigner(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=0.5)
    model.student.rpn_head.assigner, assigner.fields = assigner, fields
    rpn_step(model, samples)
    assert {key: value.tolist() for key, value in assigner.seen.items()} == {
        key: before.get(key, []) + own[key] for key in fields
    }
    assert given is samples[0].ignored_instances and {*given.keys()} == {*EARLIER_IGNORED[earlier].keys()}
    assert type(given.bboxes) is type(EARLIER_IGNORED[earlier].bboxes)


def test_an_image_on_which_the_teacher_finds_nothing(build, watch):
    model = build('IgnoringSoftTeacher')
    seen = watch(model)
    samples = of_student(model, (SURE, 0.95))
    samples[0].gt_instances = samples[0].gt_instances[:0]
    losses, _ = rpn_step(model, samples)
    assert seen['mined'].is_false.any() and not seen['positive'].any()
    assert all(torch.isfinite(value) for key in losses if 'loss' in key for value in losses[key])


@pytest.mark.parametrize('kind', ['SoftTeacher', 'IgnoringSoftTeacher'])
def test_an_image_on_which_the_teacher_is_sure_of_nothing(build, watch, kind):
    """Without an object every anchor is a negative, also with ignore_iof_thr; the unsure ones are none to be hard."""
    model = build(kind)
    model.student.rpn_head.assigner.ignore_iof_thr = 0.5
    seen = watch(model)
    _, anchors = rpn_step(model, of_student(model, (UNSURE, 0.6)))
    false = seen['mined'].bboxes[0][seen['mined'].is_false[0]]
    on_unsure = [on(false, UNSURE_OF_STUDENT), on(anchors[seen['negative'][0]], UNSURE_OF_STUDENT)]
    assert on_unsure == [0, 0] if kind == 'IgnoringSoftTeacher' else min(on_unsure) > 10


@pytest.mark.parametrize(
    'thresholds, words',
    [
        (
            dict(pseudo_label_initial_score_thr=0.9),
            '_score_thr=0.9 must be below rpn_pseudo_thr=0.9',
        ),
        (
            dict(rpn_pseudo_thr=0.3),
            "_score_thr=0.5 and rpn_pseudo_thr=0.9, or type='So",
        ),
        (dict(rpn_pseudo_thr=90), r'rpn_pseudo_thr must be a number in \[0, 1\], got semi_train_cfg.rpn_pseudo_thr=90'),
        (dict(pseudo_label_initial_score_thr='0.5'), "got semi_train_cfg.pseudo_label_initial_score_thr='0.5'"),
        (dict(rpn_pseudo_thr=None), 'got semi_train_cfg.rpn_pseudo_thr=None'),
    ],
)
def test_thresholds_without_a_score_between_them_are_refused(build, thresholds, words):
    with pytest.raises(ValueError, match=words):
        build('IgnoringSoftTeacher', **thresholds)


def test_a_detector_without_an_rpn_is_refused(repo):
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / CONFIG).model
    neck = cfg.detector.neck
    head = dict(type='RetinaHead', num_classes=3, in_channels=neck.out_channels)
    cfg.detector = dict(type='RetinaNet', backbone=cfg.detector.backbone, neck=neck, bbox_head=head)
    with pytest.raises(ValueError, match="detector.type='RetinaNet' has no RPN to train; write a detector with one"):
        MODELS.build(cfg)


@pytest.mark.parametrize('thr, warned', [(-1, 1), (0.5, 0)])
def test_a_stock_rpn_that_would_not_ignore_is_told_of(repo, thr, warned, recwarn):
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / CONFIG.replace('nrpn_', '')).model
    cfg.type = 'IgnoringSoftTeacher'
    cfg.detector.train_cfg.rpn.assigner.ignore_iof_thr = thr
    MODELS.build(cfg)
    said = [str(warning.message) for warning in recwarn if 'IgnoringSoftTeacher' in str(warning.message)]
    assert len(said) == warned and all('ignore_iof_thr=-1; write 0.5 there' in line for line in said)


@pytest.mark.slow
@pytest.mark.parametrize('config', [CONFIG, CONFIG.replace('nrpn_', '')])
def test_the_config_trains_and_measures_teacher_and_student(run_tool, shapes, tmp_path, config):
    done = run_tool(
        'tools/train.py', f'configs/nrpn/{config}', '--work-dir', tmp_path / 'work', '--cfg-options',
        'train_cfg.max_iters=3', 'train_cfg.val_interval=3', 'default_hooks.logger.interval=1',
        'train_dataloader.dataset.datasets.0.indices=6', 'train_dataloader.dataset.datasets.1.indices=12',
        SHAPES_ROOT=f'{shapes}/',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = (tmp_path / 'work').glob('*/*.log')
    text = next(log).read_text()
    assert 'teacher/pascal_voc/mAP' in text and 'student/pascal_voc/mAP' in text
    for loss in ('sup_loss_rpn_cls', 'unsup_loss_rpn_cls', 'unsup_loss_cls'):
        assert f' {loss}: ' in text
    assert (' unsup_loss_rpn_rank: ' in text) is (config == CONFIG)
