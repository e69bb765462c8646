"""Whatever goes wrong in the middle of a write: the old file, or none, and no rest."""

import contextlib
import os
import resource
import stat
from types import SimpleNamespace

import pytest
import torch
from mmengine.fileio import backends, get_file_backend, io
from mmengine.hooks import CheckpointHook, checkpoint_hook
from mmengine.runner import save_checkpoint
from whole_files import WholeFileBackend, open_whole, write_whole_files

BACKEND = WholeFileBackend()


@pytest.fixture
def whole_files(monkeypatch):
    """MMEngine as tools/train.py has it, for this test alone."""
    for registered in (backends.backends, io.prefix_to_backends):
        for name, backend in registered.items():
            monkeypatch.setitem(registered, name, backend)
    monkeypatch.setattr(checkpoint_hook, 'open', open, raising=False)
    write_whole_files()


@contextlib.contextmanager
def full_disk(space):
    """No file grows beyond so many bytes; what is written up to there stays, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (space, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize('write', [BACKEND.put_text, lambda text, path: BACKEND.put(text.encode(), path)])
def test_on_a_full_disk_the_old_file_stays(tmp_path, write):
    for old in ({}, {'file': 'old'}):
        for name, text in old.items():
            (tmp_path / name).write_text(text)
        with full_disk(100), pytest.raises(OSError):
            write('new' * 1000, tmp_path / 'file')
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == old
    write('new' * 1000, tmp_path / 'file')
    assert [file.read_text() for file in tmp_path.iterdir()] == ['new' * 1000]


def saved_by_mmengine(folder, step, save=save_checkpoint):
    """What is in a folder after MMEngine's hook wrote a checkpoint into it, or failed."""
    hook = CheckpointHook(by_epoch=False, max_keep_ckpts=2)
    runner = SimpleNamespace(
        work_dir=str(folder),
        logger=SimpleNamespace(info=lambda text: None),
        message_hub=SimpleNamespace(runtime_info={}, update_info=lambda *args: None),
        save_checkpoint=lambda out_dir, name, *args, **kwargs: save(dict(step=step), f'{out_dir}/{name}'),
    )
    hook.before_train(runner)
    with contextlib.suppress(OSError):
        hook._save_checkpoint_with_step(runner, step, meta={})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_checkpoints_and_last_checkpoint_are_written_so(tmp_path, whole_files):
    before = saved_by_mmengine(tmp_path, 1)
    assert set(before) == {'iter_1.pth', 'last_checkpoint'} and before['last_checkpoint'].endswith(b'/iter_1.pth')
    with full_disk(len(before['iter_1.pth']) // 2):
        assert saved_by_mmengine(tmp_path, 2) == before
        assert saved_by_mmengine(tmp_path, 1) == before
    with full_disk(5):  # the checkpoint was written, last_checkpoint has no room
        assert saved_by_mmengine(tmp_path, 2, save=lambda *args: None) == before
    after = saved_by_mmengine(tmp_path, 2)
    assert after['iter_1.pth'] == before['iter_1.pth'] and after['last_checkpoint'].endswith(b'/iter_2.pth')
    assert torch.load(tmp_path / 'iter_2.pth', weights_only=True) == dict(step=2)


def test_registered_as_mmengines_local_backend(tmp_path, whole_files):
    for given in (None, dict(backend='local')):
        assert type(get_file_backend(str(tmp_path), backend_args=given)) is WholeFileBackend


@pytest.mark.parametrize('tool', ['train.py', 'benchmark/execute.py'])
def test_the_tools_that_train_have_it(run_tool, tmp_path, tool):
    config = tmp_path / 'config.py'
    config.write_text("exit(repr(__import__('mmengine').fileio.get_file_backend('.')))")
    assert 'WholeFileBackend' in run_tool(f'tools/{tool}', config).stderr


@pytest.mark.parametrize('umask', [0o022, 0o077])
def test_permissions_are_those_of_a_plain_open(tmp_path, umask):
    old = os.umask(umask)
    try:
        BACKEND.put(b'', tmp_path / 'file')
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == 0o666 & ~umask


def test_links_stay_links_and_folders_are_made(tmp_path, monkeypatch):
    """Paths are relative."""
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'work').symlink_to('elsewhere')
    (tmp_path / 'elsewhere' / 'link').symlink_to('file')
    monkeypatch.chdir(tmp_path)
    for text in ('new', 'newer'):
        BACKEND.put_text(text, 'work/link')
        assert (tmp_path / 'work').is_symlink() and (tmp_path / 'elsewhere' / 'link').is_symlink()
        assert (tmp_path / 'elsewhere' / 'file').read_text() == text
    BACKEND.put(b'bytes', 'new/folder/file')
    assert (tmp_path / 'new/folder/file').read_text() == 'bytes'


def test_a_pipe_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDONLY | os.O_NONBLOCK)
    BACKEND.put(b'through', tmp_path / 'pipe')
    assert os.read(reader, 100) == b'through' and list(tmp_path.iterdir()) == [tmp_path / 'pipe']
    os.close(reader)


def test_two_processes_write_the_same_file(tmp_path, monkeypatch):
    """Each writes a whole one."""
    path = tmp_path / 'file'
    with open_whole(path, 'w') as file:
        file.write('first')
        with monkeypatch.context() as patch:
            patch.setattr(os, 'getpid', lambda: 0)
            BACKEND.put_text('second', path)
        assert path.read_text() == 'second'
    assert path.read_text() == 'first'
