"""tools/train.py resumes as MMDetection's does, and passes over checkpoints that are not whole."""

import os
import re
import subprocess
import sys
import time

import pytest
import torch
from mmdet_tools import format_each_config_once, read_each_metafile_once
from mmengine import fileio
from mmengine.config import Config, config
from mmengine.config import utils as config_utils
from mmengine.hooks import CheckpointHook
from resuming import checkpoint_instead, is_whole
from yapf.yapflib import yapf_api

ITERS, NOW = CheckpointHook(by_epoch=False), '20260101_150000'


def at(moment):
    """A time of day, as file times have it and as MMEngine names a process's folder."""
    seconds = time.mktime(time.strptime(f'20260101_{moment}', '%Y%m%d_%H%M%S'))
    return seconds, f'20260101_{moment}'


@pytest.fixture
def history(tmp_path):
    """A folder in which processes started and wrote checkpoints at given times of day; the last of these is named last.

    A process is its start, the checkpoint that it was resumed from or None, and the checkpoints it wrote.
    """

    def make(*processes, broken=()):
        for start, resumed, written in processes:
            log = tmp_path / at(start)[1] / f'{at(start)[1]}.log'
            log.parent.mkdir()
            said = (
                f'Load checkpoint from {tmp_path / resumed}\nx - INFO - resumed epoch: 0, iter: 1\n' if resumed else ''
            )
            log.write_text(f'2026/01/01 - mmengine - INFO - Config:\n2026/01/01 - mmengine - INFO - {said}')
            for moment, name in written.items():
                path = tmp_path / name
                torch.save(dict(state_dict={}), path)
                if name in broken:
                    path.write_bytes(path.read_bytes()[:-50])
                os.utime(path, (at(moment)[0],) * 2)
                (tmp_path / 'last_checkpoint').write_text(str(path))
                os.utime(tmp_path / 'last_checkpoint', (at(moment)[0] + 1,) * 2)
        return tmp_path

    return make


def test_a_config_is_formatted_once(repo, monkeypatch):
    """MMEngine asks for its text at the start and with each checkpoint."""
    asked = []
    stock = yapf_api.FormatCode
    for module in (yapf_api, config):  # MMEngine 0.10.7 has a name of its own for it
        monkeypatch.setattr(
            module, 'FormatCode', lambda *args, **kwargs: asked.append(args) or stock(*args, **kwargs), raising=False
        )
    cfg = Config.fromfile(repo / 'configs' / 'nrpn' / 'rpn_r18-w16_fpn_demo_shapes.py')
    expected = cfg.pretty_text
    format_each_config_once()
    assert [cfg.pretty_text for _ in range(3)] == [expected] * 3 and len(asked) == 2
    cfg.model.rpn_head.feat_channels = 7
    assert 'feat_channels=7' in cfg.pretty_text and len(asked) == 3


def test_metafiles_are_read_once(repo, monkeypatch):
    """MMEngine looks for each mmdet:: of a config in all of them."""
    mask_rcnn, read = repo / 'configs' / 'nrpn' / 'nrpn_mask-rcnn_r50_fpn_1x_coco.py', []
    monkeypatch.setattr(config_utils, 'load', lambda path: read.append(path) or fileio.load(path))
    stock = [Config.fromfile(mask_rcnn).to_dict() for _ in range(2)]
    assert len(read) > 100 and len(read) == 2 * len(set(read))
    read_each_metafile_once()
    del read[:]
    assert [Config.fromfile(mask_rcnn).to_dict() for _ in range(2)] == stock and len(read) == len(set(read)) > 50


def test_what_last_checkpoint_says_is_followed(history):
    folder = history(
        ('100000', None, {'100400': 'iter_4.pth', '100600': 'iter_6.pth'}),
        ('110000', None, {'110300': 'iter_3.pth'}),
    )
    torch.save({}, folder / 'best_proposal_ABO@1000_iter_7.pth')
    assert checkpoint_instead(folder, ITERS, NOW) == (None, '')
    (folder / 'last_checkpoint').write_text('s3://bucket/iter_3.pth')
    assert checkpoint_instead(folder, ITERS, NOW) == (None, '')
    (folder / 'last_checkpoint').unlink()
    assert checkpoint_instead(folder, ITERS, NOW) == (None, '')


def test_the_one_before_it_in_the_same_run_is_taken(history):
    folder = history(
        ('100000', None, {'100100': 'iter_2.pth', '100600': 'iter_6.pth'}),
        ('110000', None, {'110100': 'iter_1.pth', '110300': 'iter_3.pth'}),
        broken=['iter_3.pth'],
    )
    # iter_2 is nearer and older: of the run before
    instead, broken = checkpoint_instead(folder, ITERS, NOW)
    assert instead == folder / 'iter_1.pth' and broken == f'{folder / "iter_3.pth"} was not written to its end'


def test_a_best_checkpoint_is_none_to_resume_from(history):
    folder = history(('100000', None, {'100100': 'iter_2.pth', '100300': 'iter_3.pth'}), broken=['iter_3.pth'])
    for name in ('best_proposal_ABO@1000_iter_2.pth', 'best_2.pth'):
        torch.save({}, folder / name)
    assert checkpoint_instead(folder, ITERS, NOW)[0] == folder / 'iter_2.pth'


def test_a_resumed_run_goes_back_to_what_it_was_resumed_from(history):
    folder = history(
        ('100000', None, {'100100': 'iter_1.pth', '100200': 'iter_2.pth', '100300': 'iter_4.pth'}),
        ('110000', None, {'110300': 'iter_3.pth'}),
        ('120000', 'iter_2.pth', {'120500': 'iter_5.pth'}),
        broken=['iter_5.pth'],
    )
    assert checkpoint_instead(folder, ITERS, NOW)[0] == folder / 'iter_2.pth'
    (folder / 'iter_2.pth').write_bytes(b'')
    os.utime(folder / 'iter_2.pth', (at('100200')[0],) * 2)
    instead, broken = checkpoint_instead(folder, ITERS, NOW)
    assert instead == folder / 'iter_1.pth'
    cut = 'was not written to its end'
    assert broken == f'{folder / "iter_5.pth"} {cut}, {folder / "iter_2.pth"} {cut}'


def test_none_left_is_told(history):
    folder = history(
        ('100000', None, {'100100': 'iter_1.pth'}), ('110000', None, {'110300': 'iter_3.pth'}), broken=['iter_3.pth']
    )
    with pytest.raises(SystemExit, match=r'iter_3.pth was not written to its end.*no older.*--resume CHECKPOINT'):
        checkpoint_instead(folder, ITERS, NOW)


def test_resumed_in_the_same_second(history):
    folder = history(('100000', None, {'100100': 'iter_2.pth', '100200': 'iter_3.pth'}), broken=['iter_3.pth'])
    (folder / '20260101_100201').mkdir()
    assert checkpoint_instead(folder, ITERS, '20260101_100201')[0] == folder / 'iter_2.pth'


def test_a_deleted_or_unnamed_last_one(history):
    """With max_keep_ckpts=1 the old one goes before the new one comes; a kill may also empty last_checkpoint."""
    folder = history(('100000', None, {'100100': 'iter_1.pth', '100200': 'iter_2.pth', '100300': 'iter_3.pth'}))
    (folder / 'iter_3.pth').unlink()
    assert checkpoint_instead(folder, ITERS, NOW) == (folder / 'iter_2.pth', f'{folder / "iter_3.pth"} is not there')
    (folder / 'last_checkpoint').write_text('')
    os.utime(folder / 'last_checkpoint', (at('100301')[0],) * 2)
    assert checkpoint_instead(folder, ITERS, NOW)[0] == folder / 'iter_2.pth'


def test_a_folder_that_was_moved(history, tmp_path):
    """Its last_checkpoint names where the checkpoint was."""
    folder = history(('100000', None, {'100100': 'iter_2.pth', '100200': 'iter_3.pth'}))
    old = tmp_path / 'old' / 'iter_3.pth'
    (folder / 'last_checkpoint').write_text(str(old))
    os.utime(folder / 'last_checkpoint', (at('100201')[0],) * 2)
    assert checkpoint_instead(folder, ITERS, NOW) == (folder / 'iter_3.pth', f'{old} is not there')
    (folder / 'iter_3.pth').write_bytes(b'')
    instead, broken = checkpoint_instead(folder, ITERS, NOW)
    assert instead == folder / 'iter_2.pth' and f'{folder}/iter_3.pth was not written to its end' in broken
    (folder / 'iter_3.pth').unlink()
    assert checkpoint_instead(folder, ITERS, NOW) == (folder / 'iter_2.pth', f'{old} is not there')
    (folder / 'iter_2.pth').unlink()
    with pytest.raises(SystemExit, match=f'{old} is not there, and {folder} has no older'):
        checkpoint_instead(folder, ITERS, NOW)


@pytest.mark.parametrize(
    'hook, names',
    [
        (dict(by_epoch=True), ['epoch_9.pth', 'epoch_10.pth']),
        (dict(filename_tmpl='net-v2_step{}.of500.pth'), ['net-v2_step9.of500.pth', 'net-v2_step10.of500.pth']),
    ],
)
def test_other_names(history, hook, names):
    folder = history(('100000', None, dict(zip(('100100', '100200'), names))), broken=names[1:])
    torch.save({}, folder / 'iter_8.pth')
    assert checkpoint_instead(folder, CheckpointHook(**hook), NOW)[0] == folder / names[0]


def test_a_hook_with_a_folder_of_its_own(history, tmp_path):
    folder = history(('100000', None, {'100100': 'iter_1.pth', '100200': 'iter_2.pth'}), broken=['iter_2.pth'])
    other = tmp_path / 'elsewhere' / folder.name
    other.mkdir(parents=True)
    for name in ('iter_1.pth', 'iter_2.pth'):
        (folder / name).rename(other / name)
    os_time = (folder / 'last_checkpoint').stat().st_mtime
    for said in (str(other / 'iter_2.pth'), ''):
        (folder / 'last_checkpoint').write_text(said)
        os.utime(folder / 'last_checkpoint', (os_time,) * 2)
        hook = CheckpointHook(by_epoch=False, out_dir=str(tmp_path / 'elsewhere'))
        assert checkpoint_instead(folder, hook, NOW)[0] == other / 'iter_1.pth'


def test_whole_is_every_byte(tmp_path):
    path = tmp_path / 'iter_1.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(1000))), path)
    whole = path.read_bytes()
    assert is_whole(path)
    for damaged in (b'', whole[:-100], whole[:2000] + b'\1' * 64 + whole[2064:]):
        path.write_bytes(damaged)
        assert not is_whole(path)


OPTIONS = [
    'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False', 'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.max_keep_ckpts=-1',
]  # fmt: skip
CONFIG = 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py'


@pytest.mark.slow
def test_resumed_where_last_checkpoint_says_in_the_folder_that_mmdetection_takes(run_tool, shapes, tmp_path):
    def train(steps, folder, *more):
        given = [f'train_cfg.max_iters={steps}', 'train_cfg.val_interval=100']
        given += [] if '--work-dir' in more else [f'work_dir={folder}']
        return run_tool('tools/train.py', CONFIG, *more, '--cfg-options', *OPTIONS, *given, SHAPES_ROOT=f'{shapes}/')

    mine = tmp_path / 'mine'
    assert train(4, mine).returncode == 0
    time.sleep(1)
    done = train(2, mine)  # anew, killed as it were at 2
    assert done.returncode == 0, done.stderr
    # as save_best leaves it: no optimizer, no schedule
    state = torch.load(mine / 'iter_2.pth', weights_only=False)
    torch.save(dict(state_dict=state['state_dict'], meta=state['meta']), mine / 'best_proposal_ABO@1000_iter_3.pth')

    done = train(3, mine, '--work-dir', mine, '--resume')
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert 'resumed epoch: 0, iter: 2' in said and 'was not written' not in said
    assert re.search(r'Iter\(train\) \[ *3/3\]', said)

    # a longer run of which the last is cut short: the one before it, of this run
    cut = mine / 'iter_3.pth'
    cut.write_bytes(cut.read_bytes()[:-100])
    done = train(3, mine, '--resume', 'auto')
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f'{cut} was not written to its end; going on from {mine}/iter_2.pth' in said
    assert 'resumed epoch: 0, iter: 2' in said


# a tool up to where it imports MMEngine, after torch
UP_TO_TORCH = """
import runpy, sys

class Stop:
    def find_spec(name, *args):
        if name == 'mmengine':
            import torch
            sys.exit()

sys.meta_path.insert(0, Stop)
runpy.run_path(sys.argv[1])
"""


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'benchmark.py', 'benchmark/train_and_measure.py'])
def test_threads_wait_for_each_other_asleep(repo, tool):
    """A spinning one takes a core from others: beside them a step took ten times as long. libgomp says what it took."""

    def spins(**given):
        env = {key: value for key, value in os.environ.items() if key != 'OMP_WAIT_POLICY'}
        done = subprocess.run(
            [sys.executable, '-c', UP_TO_TORCH, tool], cwd=repo / 'tools',
            env={**env, 'OMP_DISPLAY_ENV': 'verbose', **given}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {int(spins) > 0 for spins in re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)}

    assert spins() == {False}
    if tool == 'train.py':
        assert spins(OMP_WAIT_POLICY='ACTIVE') == {True}
