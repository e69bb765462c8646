import json
import sys
from pathlib import Path

import pytest
import torch
from fold.fit import fit, main, with_nrpn
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


def save_finished(config, path):
    """A detector with random weights, those of its RPN as large as after a training."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    torch.nn.init.normal_(rpn_of(model).rpn_conv.weight, std=0.1)
    torch.nn.init.normal_(rpn_of(model).rpn_cls.weight, std=0.3)
    torch.save(dict(state_dict=model.state_dict(), meta=META), path)
    return model.state_dict()


@pytest.fixture
def finished(repo, shapes, tmp_path):
    """Save a finished detector as finished.pth: its weights, and its config with all of the drawn data."""

    def save(config=STOCK):
        cfg = Config.fromfile(repo / config)
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
        cfg.train_dataloader.dataset.update(data_root=f'{shapes}/', indices=None)
        return save_finished(repo / config, tmp_path / 'finished.pth'), cfg

    return save


@pytest.mark.parametrize('config', [STOCK, DETECTOR])
def test_the_nrpn_alone_learns_what_the_rpn_gets_wrong(finished, tmp_path, config):
    given, cfg = finished(config)
    cfg = with_nrpn(cfg)
    weights = fit(cfg, tmp_path / 'finished.pth', 30)['state_dict']
    assert all(torch.equal(weights[key], value) for key, value in given.items())  # batch norms' statistics, too
    assert {key.rsplit('.', 1)[0].split('.', 1)[1] for key in set(weights) - set(given)} == {'nrpn_head.nrpn_cls'}

    model = MODELS.build(cfg.model).eval()
    data = model.data_preprocessor(next(iter(Runner.build_dataloader(cfg.train_dataloader))), True)
    for sample in data['data_samples']:
        sample.gt_instances.labels.zero_()
    losses = []
    for nrpn in ({}, weights):
        model.load_state_dict({**given, **nrpn}, strict=False)
        with torch.no_grad():
            of_head = rpn_of(model).loss(model.extract_feat(data['inputs']), data['data_samples'])
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


def test_equal_runs_are_equal_and_an_nrpn_in_the_checkpoint_is_not_used(finished, tmp_path):
    """Also with batch augmentations that ask for the step, and a preprocessor beside the model."""
    _, cfg = finished()
    resize = dict(type='BatchSyncRandomResize', random_size_range=(64, 96), interval=1, size_divisor=32)
    cfg.data_preprocessor = dict(cfg.model.pop('data_preprocessor'), batch_augments=[resize])
    fitted = fit(with_nrpn(cfg), tmp_path / 'finished.pth', 2)
    of_paper = {'bbox_head.nrpn_head.rpn_conv.weight': torch.zeros(1)}
    torch.save(dict(state_dict={**fitted['state_dict'], **of_paper}), tmp_path / 'fitted.pth')
    torch.manual_seed(7)
    first, again = fitted['state_dict'], fit(with_nrpn(cfg), tmp_path / 'fitted.pth', 2)['state_dict']
    assert first['bbox_head.nrpn_head.nrpn_cls.weight'].abs().sum() > 0
    assert list(first) == list(again) and all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize('prefixes', [['module'], ['teacher', 'student'], ['detector', 'student']])
@pytest.mark.parametrize('alone', [True, False])
def test_the_files_names_and_its_other_weights_are_kept(finished, tmp_path, prefixes, alone):
    """Of a wrapped model, or one with its detector inside; an RPN is measured alone in such a checkpoint, too."""
    given, cfg = finished(DETECTOR)
    state = {f'{part}.{key}': value + n for n, part in enumerate(prefixes) for key, value in given.items()}
    torch.save(dict(state_dict=state, meta=None), tmp_path / 'whole.pth')
    if alone:
        cfg.model.type = 'RPN'
        del cfg.model['roi_head'], cfg.model.train_cfg['rcnn'], cfg.model.test_cfg['rcnn']
        cfg.model.train_cfg.pop('rpn_proposal')
    fitted = fit(with_nrpn(cfg), tmp_path / 'whole.pth', 1)
    weights = fitted['state_dict']
    assert fitted['meta'] == {} and all(torch.equal(weights[key], value) for key, value in given.items())
    assert set(weights) - set(given) == {f'rpn_head.nrpn_head.nrpn_cls.{part}' for part in ('weight', 'bias')}


def test_refuses_a_data_set_without_images(finished, tmp_path):
    _, cfg = finished()
    cfg.train_dataloader.dataset.filter_cfg = dict(min_size=1000)
    with pytest.raises(ValueError, match='train_dataloader: .* if it has no images, check its ann_file'):
        fit(with_nrpn(cfg), tmp_path / 'finished.pth', 2)


@pytest.mark.parametrize('method', ['paper-nrpn', 'paper-nrpn-overlap', 'nrpn-focal'])
@pytest.mark.parametrize(
    'nrpn_head', [{}, dict(type='PaperNRPNHead', feat_channels=8), dict(type=OwnNRPNHead, own=1), None]
)
def test_takes_the_place_of_any_other_nrpn_and_leaves_the_rest_of_the_config(repo, method, nrpn_head):
    given = Config.fromfile(repo / f'configs/nrpn/{method}_r18-w16_fpn_demo_shapes.py')
    if nrpn_head != {}:
        given.model.rpn_head.nrpn_head = nrpn_head
    given.custom_imports = None
    before = given.to_dict()
    cfg = with_nrpn(given)
    assert given.to_dict() == before
    assert cfg.train_dataloader == given.train_dataloader  # its sampler, too: else an epoch would have no end
    head = MODELS.build(cfg.model).bbox_head
    assert type(head.nrpn_head).__name__ == 'NRPNHead' and head.hardness == 'nrpn'
    assert cfg.custom_imports == dict(imports=['mmdet_nrpn'], allow_failed_imports=False)


def test_the_result_is_written_whole_or_not_at_all(repo, monkeypatch, tmp_path):
    def full_disk(content, path):
        Path(path).write_bytes(b'half')
        raise OSError('No space left on device')

    (tmp_path / 'finished.pth').touch()
    monkeypatch.setattr(torch, 'save', full_disk)
    monkeypatch.setattr('fold.fit.fit', lambda *args: {})
    out = tmp_path / 'new' / 'fitted.pth'
    monkeypatch.setattr(sys, 'argv', ['fit.py', str(repo / STOCK), str(tmp_path / 'finished.pth'), '--out', str(out)])
    with pytest.raises(OSError, match='No space left'):
        main()
    assert [*out.parent.iterdir()] == []


@pytest.mark.parametrize(
    ('config', 'changes', 'said'),
    [
        (STOCK, {'model.rpn_head': None}, 'model.rpn_head is not there'),
        (STOCK, {'model.rpn_head.type': 'GARPNHead'}, "model.rpn_head.type='GARPNHead'"),
        (STOCK, {'model.rpn_head.type': OwnRPNHead}, 'must be RPNHead or HardNegativeRPNHead'),
        (SOFT_TEACHER, {}, "model.type='SoftTeacher' has its detector inside, .* the config of that detector alone"),
        *((STOCK, {key: None}, f'{key} is not there') for key in ('model', 'train_dataloader', 'val_dataloader')),
        *((STOCK, {key: None}, 'model.train_cfg.rpn is not') for key in ('model.train_cfg', 'model.train_cfg.rpn')),
    ],
)
def test_says_what_it_cannot_be_fitted_to(repo, config, changes, said):
    cfg = Config.fromfile(repo / config)
    cfg.merge_from_dict(changes)
    with pytest.raises(ValueError, match=said):
        with_nrpn(cfg)


def test_refuses_another_models_checkpoint(repo, run_tool, shapes, tmp_path):
    save_finished(repo / STOCK, tmp_path / 'a.pth')
    done = run_tool(TOOL, DETECTOR, tmp_path / 'a.pth', '--out', tmp_path / 'b.pth', SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 1 and 'is of another model' in done.stderr and 'Traceback' not in done.stderr
