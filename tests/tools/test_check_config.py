"""What is wrong with a config is told before any training, in one line with the key and the remedy."""

import json
import os
import re

import check_config
import pytest
import spoiled_data as spoil
import torch
from as_coco import CLASSES
from mmdet.registry import MODELS
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from spoiled_data import IMAGE, told

TRAIN, VAL = (f"{name}_dataloader['dataset'].update(" for name in ('train', 'val'))
NAMED, NAMED_IN_VAL = (data + 'metainfo=dict(classes=' for data in (TRAIN, VAL))
SAVE, NOT_SAVED = (
    'default_hooks = dict(checkpoint=dict(save_last=False, interval=',
    'checkpoint does not save .*take save_last',
)
KNOWN, TWO = r".* \['disc', 'square', 'triangle'\]; write the", r"write metainfo=dict\(classes=\('disc', 'square'\)\)"
WRONG = [
    ("model = dict(rpn_head=dict(type='HardNegativRPNHead'))", "'HardNegativRPNHead' is not registered.*spelling"),
    ("model = dict(train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampeler'))))", "'NRPNSampeler' is not registered"),
    ("model = dict(rpn_head=dict(type='HardNegativeRPNHead', hardness='typo'))", "hardness='typo'"),
    ("optim_wrapper = dict(optimizer=dict(type='AdmW'))", "optim_wrapper=.*'AdmW'.*check its types and settings"),
    (VAL + "pipeline=[_base_.test_pipeline[0], dict(type='PackDetInputs', meta_keys=())])", "put 'img_id', 'img_path'"),
    (NAMED_IN_VAL + "('cat', 'dog')))", r"val_dataloader.*\('cat', 'dog'\)" + KNOWN),
    (NAMED_IN_VAL + "('disc',)))", r"val_dataloader.dataset has classes=\('disc',\)"),
    (TRAIN + "data_root='nowhere/')", 'nowhere/.* is not there; check data_root'),
    (TRAIN + 'indices=range(5, 50))', 'train_dataloader.dataset: indices, of 12 images: IndexError'),
    (TRAIN + 'filter_cfg=dict(min_size=999))', "'min_size': 999.* leaves 0 of 12 images.*change it, or check .*txt"),
    (TRAIN + "metainfo=dict(CLASSES=('disc',), _delete_=True))", 'metainfo=.*write metainfo=dict.classes='),
    (TRAIN + 'metainfo=dict(_delete_=True))', 'metainfo=.*write metainfo=dict.classes='),
    (NAMED + '()))', 'metainfo=.*write metainfo=dict.classes='),
    (NAMED + "'disc'))", r"'disc'.*write metainfo=dict\(classes=\('disc',\)\)"),
    (NAMED + "('disc', 'square', '')))", TWO),
    (NAMED + "('disc', 'square', 'disc')))", TWO),
    (NAMED + "{'square', 'disc'}))", TWO),
    (NAMED + "('Disc', 'Square')))", r"classes=\('Disc', 'Square'\).*Annotations" + KNOWN),
    ("custom_hooks = [dict(type='EMAHok')]", "custom_hooks.0: .*'EMAHok'.* is not registered; check its spelling"),
    ("custom_hooks = [dict(typ='EMAHook')]", r"custom_hooks.0: the type of {'typ': 'EMAHook'} is not registered"),
    ("default_hooks = dict(logger=dict(type='LogerHook'))", "default_hooks.logger: .*'LogerHook'.* is not registered"),
    ('default_hooks = dict(logger=dict(intervall=5))', "default_hooks.logger: .*'intervall'"),
    ("param_scheduler = [dict(type='LinearRL')]", "param_scheduler.*: type='LinearRL' is not registered"),
    ("param_scheduler = dict(_delete_=True, type='StepLR', stepsize=3)", "param_scheduler.*'stepsize'"),
    ("train_dataloader.update(sampler=dict(type='InfinitSampler'))", "train_dataloader: type='InfinitSampler' is not"),
    ("train_dataloader.update(batch_sampler=dict(type='Aspect'))", "train_dataloader: type='Aspect' is not registered"),
    ("val_dataloader.update(sampler=dict(shufle=False, type='DefaultSampler'))", "val_dataloader: .*'shufle'"),
    ("visualizer = dict(type='Visualiser')", "visualizer: .*'Visualiser'.* is not registered"),
    ("visualizer = dict(type='Visualizer', vis_backends=[dict(type='Board')])", "backends.0: .*'Board'.* is not reg"),
    ("train_cfg = dict(type='IterLoop', max_iters=5)", "train_cfg: .*'IterLoop'.* is not registered"),
    ("val_evaluator = dict(_delete_=True, type='CocoMetrc')", "val_evaluator: type='CocoMetrc' is not registered"),
    ("val_evaluator = dict(_delete_=True, type='CocoMetric', metrc='bbox')", "val_evaluator: .*'metrc'"),
    ("val_evaluator = dict(_delete_=True, type='CocoMetric', ann_file='no.json')", 'val_evaluator: .*no.json.? '),
    ('default_hooks = dict(checkpoint=None)', 'default_hooks.checkpoint=None does not save .*take'),
    *((f'{SAVE}{interval}))', NOT_SAVED) for interval in (3, -1, 9999, '50, save_begin=20')),
]
WRONG_COCO = [
    (NAMED + "('disc', 'Square')))", r"train.json.*\['Square'\]" + KNOWN),
    (NAMED + "{'square', 'disc'}))", TWO),
    (NAMED_IN_VAL + "('disc',)))", r"val_dataloader.dataset has classes=\('disc',\)"),
    (TRAIN + "data_prefix=dict(img_path='train/'))", r"has no 'img'; write data_prefix=dict\(img='train/'\)"),
]


@pytest.mark.parametrize(
    'form, lines, words', [*(('voc', *case) for case in WRONG), *(('coco', *case) for case in WRONG_COCO)]
)
def test_what_is_wrong_is_one_line_that_says_what_to_do(make_own, form, lines, words):
    line = told(make_own(form, lines=lines))
    assert re.search(words, line), line


@pytest.mark.parametrize(
    'lines',
    [
        SAVE + '50))',
        SAVE + '70, save_begin=60))',
        "custom_hooks = [dict(type='mmengine.EMAHook', priority='NORMAL')]",
        "default_hooks = dict(checkpoint=None)\ncustom_hooks = [dict(type='CheckpointHook', by_epoch=False)]",
        "param_scheduler = dict(_delete_=True, type='MultiStepLR', milestones=[1], convert_to_iter_based=True)",
        'param_scheduler = None',
        "visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])",
        "custom_hooks = [dict(type='ProfilerHook', on_trace_ready=dict(type='tb_trace'))]",  # of no registry
    ],
)
def test_parts_that_are_spelt_right_pass(make_own, lines):
    assert told(make_own('voc', lines=lines)) is None


PART = """{{**_base_.train_dataloader.dataset, **train_dataloader['dataset'], 'filter_cfg': None,
           'ann_file': 'ImageSets/Main/{}.txt', 'metainfo': dict(classes={})}}"""
RIGHT, OTHER = PART.format('val', CLASSES), PART.format('train', ('a', 'b', 'c'))


@pytest.mark.parametrize(
    'parts, key',
    [
        ("type='RepeatDataset', times=2, dataset=PART", 'dataset'),
        (f"type='ConcatDataset', datasets=[{RIGHT}, PART]", r'datasets\[1\]'),
        (
            "type='RepeatDataset', times=1, dataset=dict(type='ConcatDataset', datasets=[PART])",
            r'dataset.datasets\[0\]',
        ),
        ("type='ClassBalancedDataset', oversample_thr=0.1, dataset=PART", 'dataset'),
    ],
)
def test_wrapped_data_sets_are_looked_at(make_own, parts, key):
    lines = f"train_dataloader['dataset'] = dict(_delete_=True, {parts})"
    assert told(make_own('voc', lines=lines.replace('PART', RIGHT))) is None
    line = told(make_own('voc', lines=lines.replace('PART', OTHER)))
    assert re.search(rf"train_dataloader.dataset.{key}: no object of classes=\('a', 'b', 'c'\)", line), line


def test_images_without_objects_beside_others_are_fine(make_own):
    parts = f'[{PART.format("train", CLASSES)}, {RIGHT}]'
    lines = f"train_dataloader['dataset'] = dict(_delete_=True, type='ConcatDataset', datasets={parts})"
    empty = spoil.both(spoil.sub(spoil.XML, spoil.OBJECTS, ''), spoil.write(spoil.LIST, b'000003'))
    assert told(make_own('voc', spoil=empty, lines=lines)) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    'tool', [['tools/check_config.py'], ['tools/benchmark', '--work-dir', 'work_dirs/never', '--dry-run']]
)
def test_a_dry_run_and_the_command_end_in_that_line(run_tool, repo, make_own, tool):
    done = run_tool(*tool, make_own('voc', classes=('Disc', 'Square')).source)
    assert done.returncode == 1
    assert 'write the names as they are there' in done.stderr.strip().splitlines()[-1]
    assert not (repo / 'work_dirs' / 'never').exists()


def test_mmengines_warnings_are_seen_again_after_it(make_own, caplog):
    logger = MMLogger.get_current_instance()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('check_config._check', lambda *args: logger.warning('while it looks'))
        told(make_own('voc'))
    logger.addHandler(caplog.handler)
    logger.warning('after it')
    logger.removeHandler(caplog.handler)
    assert 'after it' in caplog.text and 'while it looks' not in caplog.text


def test_configs_that_cannot_be_read_are_told_beside_the_others(make_own, tmp_path, monkeypatch):
    other = make_own('voc', classes=('Disc', 'Square')).source
    wrong = {"_base_ = ['./nowhere.py']": 'nowhere.py', 'model = dict(': 'SyntaxError', 'model = x': "name 'x'"}
    files = [tmp_path / f'wrong{number}.py' for number in range(len(wrong))]
    for file, text in zip(files, wrong):
        file.write_text(text)
    monkeypatch.setattr('sys.argv', ['check_config.py', *map(str, files), other])
    with pytest.raises(SystemExit) as ended:
        check_config.main()
    lines = ended.value.code.splitlines()
    assert [line.split(': ')[0] for line in lines] == [*map(str, files), other]
    for line, words in zip(lines, wrong.values()):
        assert words in line


@pytest.mark.parametrize('part, is_right', [('backbone', False), ('roi_head', True)])
def test_a_checkpoint_has_to_have_the_model(make_own, tmp_path, part, is_right):
    """An RPN's may be that of a two-stage detector."""
    run = make_own('voc')
    init_default_scope('mmdet')
    weights = {k.replace('bbox_head', 'rpn_head'): v for k, v in MODELS.build(run.cfg.model).state_dict().items()}
    weights = {f'{part}.conv1.weight': torch.zeros(64, 3, 3, 3), **(weights if is_right else {})}
    torch.save(dict(state_dict=weights), tmp_path / 'other.pth')
    line = told(run._replace(checkpoint=tmp_path / 'other.pth'))
    assert line is None if is_right else 'other.pth is of another model' in line


@pytest.mark.parametrize(
    'given', ['http://127.0.0.1:9/weights-1.pth', 'open-mmlab://resnet50_v1c', 'openmmlab://resnet50_caffe']
)
@pytest.mark.parametrize(
    'lines, key',
    [
        ("load_from = '{}'", 'load_from'),
        (
            "model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='{}')",
            'model.backbone.init_cfg.checkpoint',
        ),
    ],
)
def test_weights_that_cannot_be_downloaded_are_named(make_own, tmp_path, monkeypatch, given, lines, key):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9')  # nobody answers there
    run = make_own('voc', lines=lines.format(given))
    place = rf"{key}='{given}': get http\S*\.pth elsewhere and put it there as (\S*\.pth), .*refused"
    place = re.search(place, told(run))[1]
    assert place.startswith(f'{tmp_path}/torch/hub/checkpoints/')
    os.makedirs(os.path.dirname(place))
    open(place, 'w').close()
    assert told(run) is None


@pytest.mark.parametrize(
    'given, words',
    [
        ('weights/resnet18.pth', 'weights/resnet18.pth is not there'),
        ('torchvison://resnet50', 'torchvison:.*resnet50 is not there'),
        ('mmcls://resnet5', "mmcls:// has no 'resnet5'; check its spelling"),
        ('open-mmlab://resnet50_v1x', "open-mmlab:// has no 'resnet50_v1x'; check its spelling"),
    ],
)
def test_weights_that_are_nowhere_are_named(make_own, given, words):
    lines = f"model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='{given}')"
    line = told(make_own('voc', lines=lines))
    assert re.search(f"model.backbone.init_cfg.checkpoint='{given}': {words}", line), line


def test_weights_that_are_here_pass(make_own, tmp_path):
    torch.save({}, tmp_path / 'here.pth')
    lines = f"model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='{tmp_path}/here.pth')"
    assert told(make_own('voc', lines=lines)) is None


def test_a_tracker_passes(run_tool, shapes, tracker):
    """Its data set has videos, here one of three frames."""
    names = sorted(image.name for image in (shapes / 'JPEGImages').iterdir())[:3]
    frames = [dict(id=n, video_id=1, frame_id=n, file_name=name, width=128, height=128) for n, name in enumerate(names)]
    objects = dict(bbox=[9, 9, 30, 30], area=900, category_id=1, instance_id=1, mot_conf=1.0, visibility=1.0)
    objects = [dict(objects, id=n, image_id=n, video_id=1) for n in range(3)]
    content = dict(videos=[dict(id=1, name='shapes')], images=frames, annotations=objects)
    (shapes / 'video.json').write_text(json.dumps(dict(content, categories=[dict(id=1, name='pedestrian')])))
    data = dict(data_root=f'{shapes}/', ann_file='video.json', data_prefix=dict(img_path='JPEGImages'))
    tracker.write_text(f'{tracker.read_text()}\ntrain_dataloader = val_dataloader = dict(dataset={data})\n')
    done = run_tool('tools/check_config.py', tracker)
    assert done.returncode == 0 and 'nothing wrong' in done.stdout, done.stderr


class Far(LocalBackend):
    """A storage whose paths lead to no files: those behind the prefix."""

    def get(self, filepath):
        return super().get(filepath.removeprefix('far://'))

    def get_text(self, filepath, encoding='utf-8'):
        return super().get_text(filepath.removeprefix('far://'), encoding)

    def get_local_path(self, filepath):
        return super().get_local_path(filepath.removeprefix('far://'))


@pytest.mark.parametrize('form', ['voc', 'coco'])
@pytest.mark.parametrize('how', [None, spoil.write(IMAGE.format('000000'), b'no image')])
def test_data_on_a_remote_storage(make_own, shapes, form, how):
    register_backend('far', Far, force=True, prefixes='far')
    line = told(make_own(form, spoil=how, lines=f"{TRAIN}data_root='far://{shapes}/')"))
    assert re.search('far://.*/000000.jpg cannot be read .*backend_args', line) if how else line is None


@pytest.mark.parametrize('how', [spoil.unlink(IMAGE), spoil.write(IMAGE, b'no image'), None])
@pytest.mark.parametrize('backend_args', [dict(backend='local'), None, dict(backend='http')])
def test_a_storage_that_is_named_is_looked_at(make_own, how, backend_args):
    loader = dict(type='LoadImageFromFile', backend_args=backend_args)
    line = told(make_own('voc', spoil=how, lines=f'{TRAIN}pipeline=[{loader}, *_base_.train_pipeline[1:]])'))
    is_sound = how is None and backend_args != dict(backend='http')
    assert line is None if is_sound else re.search(r'JPEGImages/\d+.jpg cannot be read .*backend_args', line), line
