import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from mmdet_nrpn import HardNegativeRPNHead, NRPNHead
from mmdet_nrpn.utils import rpn_of

TOOL = 'tools/fold/fit.py'
STOCK = 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py'
DETECTOR = 'configs/nrpn/faster-rcnn_r18-w16_fpn_demo_semi-shapes.py'
SOFT_TEACHER = 'configs/nrpn/soft-teacher_faster-rcnn_r18-w16_fpn_demo_semi-shapes.py'
META = dict(iter=500, dataset_meta=dict(classes=('disc', 'square', 'triangle')), cfg='text')


class OwnRPNHead(HardNegativeRPNHead):
    pass


class OwnNRPNHead(NRPNHead):
    def __init__(self, *args, own, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.fixture
def tool(repo, monkeypatch):
    monkeypatch.syspath_prepend(repo / 'tools')
    return runpy.run_path(str(repo / TOOL))


def save_finished(config, path):
    """A detector with random weights, those of its RPN as large as after a training."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    head = getattr(model, 'rpn_head', None) or model.bbox_head
    torch.nn.init.normal_(head.rpn_conv.weight, std=0.1)
    torch.nn.init.normal_(head.rpn_cls.weight, std=0.3)
    torch.save(dict(state_dict=model.state_dict(), meta=META), path)
    return model.state_dict()


def with_data(cfg, root):
    """Of the drawn data set, all of its images, read by this process."""
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.update(data_root=f'{root}/', indices=None)
    return cfg


@pytest.mark.parametrize('config', [STOCK, DETECTOR])
def test_the_nrpn_alone_learns_what_the_rpn_gets_wrong(repo, tool, shapes, tmp_path, config):
    finished = save_finished(repo / config, tmp_path / 'finished.pth')
    cfg = tool['with_nrpn'](with_data(Config.fromfile(repo / config), shapes))
    weights = tool['fit'](cfg, tmp_path / 'finished.pth', 30)['state_dict']
    assert all(torch.equal(weights[key], value) for key, value in finished.items())  # batch norms' statistics, too
    assert {key.rsplit('.', 1)[0].split('.', 1)[1] for key in set(weights) - set(finished)} == {'nrpn_head.nrpn_cls'}

    model = MODELS.build(cfg.model).eval()
    data = model.data_preprocessor(next(iter(Runner.build_dataloader(cfg.train_dataloader))), True)
    for sample in data['data_samples']:
        sample.gt_instances.labels.zero_()
    losses = []
    for nrpn in ({}, weights):
        model.load_state_dict({**finished, **nrpn}, strict=False)
        head = rpn_of(model)
        with torch.no_grad():
            of_head = head.loss(model.extract_feat(data['inputs']), data['data_samples'])
        losses.append(float(of_head['loss_nrpn_cls'][0]))
    assert losses[1] < losses[0] / 4


@pytest.mark.slow
def test_the_commands_that_it_prints_publish_a_stock_checkpoint(repo, run_tool, shapes, tmp_path):
    finished = save_finished(repo / STOCK, tmp_path / 'finished.pth')
    out, options = tmp_path / 'fit' / 'fitted.pth', dict(SHAPES_ROOT=f'{shapes}/')
    done = run_tool(TOOL, STOCK, tmp_path / 'finished.pth', '--out', out, '--iters', 10, **options)
    assert done.returncode == 0, done.stderr
    sweep, publish = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith('  python tools/'))
    swept = run_tool(*sweep, '--folds', 0, 1, **options)
    assert swept.returncode == 0, swept.stderr
    unfolded, folded = json.loads((out.parent / 'fitted_fold.json').read_text()).values()
    assert unfolded != folded
    assert run_tool(*publish).returncode == 0
    (published,) = (out.parent / 'published').iterdir()
    assert published.name.startswith('fitted-fold0.2-')
    published = torch.load(published, weights_only=True)
    # inference reads the classes there
    assert published['meta'] == dict({key: META[key] for key in ('iter', 'dataset_meta')}, fold=0.2)
    published = published['state_dict']
    assert list(published) == list(finished)
    changed = {key for key, value in finished.items() if not torch.equal(published[key], value)}
    assert changed == {'bbox_head.rpn_cls.weight', 'bbox_head.rpn_cls.bias'}


def test_equal_runs_are_equal_and_an_nrpn_in_the_checkpoint_is_not_used(repo, shapes, tmp_path, tool):
    save_finished(repo / STOCK, tmp_path / 'finished.pth')
    cfg = tool['with_nrpn'](with_data(Config.fromfile(repo / STOCK), shapes))
    fitted = tool['fit'](cfg, tmp_path / 'finished.pth', 2)
    torch.save(fitted, tmp_path / 'fitted.pth')
    torch.manual_seed(7)
    first, again = fitted['state_dict'], tool['fit'](cfg, tmp_path / 'fitted.pth', 2)['state_dict']
    assert first['bbox_head.nrpn_head.nrpn_cls.weight'].abs().sum() > 0
    assert list(first) == list(again) and all(torch.equal(first[key], again[key]) for key in first)


def test_the_files_names_and_its_other_weights_are_kept(repo, shapes, tmp_path, tool):
    """An RPN is measured in a detector's checkpoint, here of a wrapped model: its RPN is called rpn_head."""
    finished = save_finished(repo / DETECTOR, tmp_path / 'finished.pth')
    wrapped = {f'module.{key}': value for key, value in finished.items()}
    torch.save(dict(state_dict=wrapped), tmp_path / 'wrapped.pth')
    cfg = with_data(Config.fromfile(repo / DETECTOR), shapes)
    cfg.model.type = 'RPN'
    del cfg.model['roi_head'], cfg.model.train_cfg['rcnn'], cfg.model.test_cfg['rcnn']
    cfg.model.train_cfg.pop('rpn_proposal')
    weights = tool['fit'](tool['with_nrpn'](cfg), tmp_path / 'wrapped.pth', 1)['state_dict']
    assert all(torch.equal(weights[key], value) for key, value in finished.items())
    assert set(weights) - set(finished) == {f'rpn_head.nrpn_head.nrpn_cls.{part}' for part in ('weight', 'bias')}


@pytest.mark.parametrize('given', ['json', ['json'], None, 'absent'])
def test_imports_of_the_config_are_kept(repo, tool, given):
    cfg = Config.fromfile(repo / STOCK)
    cfg.custom_imports = given and dict(imports=given, allow_failed_imports=given == 'absent')
    written = tool['with_nrpn'](cfg).custom_imports
    names = [given] if isinstance(given, str) else given or []
    assert written == dict(imports=[*names, 'mmdet_nrpn'], allow_failed_imports=given == 'absent')


def test_refuses_a_data_set_without_images(repo, shapes, tmp_path, tool):
    save_finished(repo / STOCK, tmp_path / 'finished.pth')
    cfg = with_data(Config.fromfile(repo / STOCK), shapes)
    cfg.train_dataloader.dataset.filter_cfg = dict(min_size=1000)
    with pytest.raises(ValueError, match='train_dataloader: .* if it has no images, check its ann_file'):
        tool['fit'](tool['with_nrpn'](cfg), tmp_path / 'finished.pth', 2)


@pytest.mark.parametrize('method', ['paper-nrpn', 'paper-nrpn-overlap', 'nrpn-focal'])
@pytest.mark.parametrize(
    'nrpn_head', [{}, dict(type='PaperNRPNHead', feat_channels=8), dict(type=OwnNRPNHead, own=1), None]
)
def test_takes_the_place_of_any_other_nrpn_and_leaves_the_rest_of_the_config(repo, tool, method, nrpn_head):
    given = Config.fromfile(repo / f'configs/nrpn/{method}_r18-w16_fpn_demo_shapes.py')
    if nrpn_head != {}:
        given.model.rpn_head.nrpn_head = nrpn_head
    before = given.to_dict()
    cfg = tool['with_nrpn'](given)
    assert given.to_dict() == before
    assert cfg.train_dataloader == given.train_dataloader  # its sampler, too: else an epoch would have no end
    head = MODELS.build(cfg.model).bbox_head
    assert type(head.nrpn_head).__name__ == 'NRPNHead' and head.hardness == 'nrpn'


def test_batch_augmentations_that_ask_for_the_step_and_a_preprocessor_beside_the_model(repo, tool, shapes, tmp_path):
    save_finished(repo / STOCK, tmp_path / 'finished.pth')
    cfg = with_data(Config.fromfile(repo / STOCK), shapes)
    resize = dict(type='BatchSyncRandomResize', random_size_range=(64, 96), interval=1, size_divisor=32)
    cfg.data_preprocessor = dict(cfg.model.pop('data_preprocessor'), batch_augments=[resize])
    weights = tool['fit'](tool['with_nrpn'](cfg), tmp_path / 'finished.pth', 2)['state_dict']
    assert weights['bbox_head.nrpn_head.nrpn_cls.weight'].abs().sum() > 0


@pytest.mark.parametrize('inside', ['teacher', 'detector'])
def test_of_a_teachers_or_trackers_checkpoint_the_detector_is_taken(repo, tool, shapes, tmp_path, inside):
    finished = save_finished(repo / DETECTOR, tmp_path / 'finished.pth')
    whole = {f'{part}.{key}': value + number for number, part in enumerate((inside, 'student'))
             for key, value in finished.items()}  # fmt: skip
    torch.save(dict(state_dict=whole, meta=None), tmp_path / 'whole.pth')
    cfg = tool['with_nrpn'](with_data(Config.fromfile(repo / DETECTOR), shapes))
    fitted = tool['fit'](cfg, tmp_path / 'whole.pth', 1)
    assert all(torch.equal(fitted['state_dict'][key], value) for key, value in finished.items())
    assert len(fitted['state_dict']) == len(finished) + 2 and fitted['meta'] == {}


def test_the_result_is_written_whole_or_not_at_all(repo, tool, monkeypatch, tmp_path):
    def full_disk(content, path):
        Path(path).write_bytes(b'half')
        raise OSError('No space left on device')

    (tmp_path / 'finished.pth').touch()
    monkeypatch.setattr(torch, 'save', full_disk)
    monkeypatch.setitem(tool['main'].__globals__, 'fit', lambda *args: {})
    out = tmp_path / 'new' / 'fitted.pth'
    monkeypatch.setattr(sys, 'argv', ['fit.py', str(repo / STOCK), str(tmp_path / 'finished.pth'), '--out', str(out)])
    with pytest.raises(OSError, match='No space left'):
        tool['main']()
    assert [*out.parent.iterdir()] == []


@pytest.mark.parametrize(
    ('config', 'changes', 'said'),
    [
        (STOCK, {'model.rpn_head': None}, 'model.rpn_head is not there'),
        (STOCK, {'model.rpn_head.type': 'GARPNHead'}, "model.rpn_head.type='GARPNHead'"),
        (STOCK, {'model.rpn_head.type': OwnRPNHead}, 'must be RPNHead or HardNegativeRPNHead'),
        (STOCK, {'model': None}, 'model is not there'),
        (SOFT_TEACHER, {}, "model.type='SoftTeacher' has its detector inside, .* the config of that detector alone"),
        (STOCK, {'train_dataloader': None}, 'train_dataloader is not there'),
        (STOCK, {'val_dataloader': None}, 'val_dataloader is not there'),
        (STOCK, {'model.train_cfg': None}, 'model.train_cfg.rpn is not there'),
        (STOCK, {'model.train_cfg.rpn': None}, 'model.train_cfg.rpn is not there'),
    ],
)
def test_says_what_it_cannot_be_fitted_to(repo, tool, config, changes, said):
    cfg = Config.fromfile(repo / config)
    for key, value in changes.items():
        cfg.merge_from_dict({key: value})
    with pytest.raises(ValueError, match=said):
        tool['with_nrpn'](cfg)


def test_refuses_another_models_checkpoint(repo, run_tool, shapes, tmp_path):
    save_finished(repo / STOCK, tmp_path / 'finished.pth')
    done = run_tool(
        TOOL, DETECTOR, tmp_path / 'finished.pth', '--out', tmp_path / 'fitted.pth', SHAPES_ROOT=f'{shapes}/'
    )
    assert done.returncode == 1 and 'is of another model' in done.stderr and 'Traceback' not in done.stderr
