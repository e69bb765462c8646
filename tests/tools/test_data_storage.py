"""Images are looked at wherever they lie."""

import contextlib
import os
import re
from pathlib import Path

import pytest
from check_config import Check
from mmengine.fileio import BaseStorageBackend, register_backend
from spoiled_data import first, told


@pytest.mark.parametrize('backend_args', ["dict(backend='local')", 'None'])
@pytest.mark.parametrize('content', [b'no image', None])
def test_storage_that_is_named_is_looked_at(make_own, shapes, backend_args, content):
    path = shapes / 'JPEGImages' / f'{first(shapes)}.jpg'
    path.unlink() if content is None else path.write_bytes(content)
    lines = f"""
loader = dict(type='LoadImageFromFile', backend_args={backend_args})
pipeline = [loader, *_base_.train_pipeline[1:]]
train_dataloader = dict(dataset=dict(train_dataloader['dataset'], backend_args={backend_args}, pipeline=pipeline))
"""
    line = told(make_own('voc', lines=lines))
    assert str(path) in line and re.search('is not there|cannot be read as an image', line), line


class Far(BaseStorageBackend):
    """A storage whose paths lead to no files: those behind the prefix."""

    join_path = staticmethod(os.path.join)

    def get(self, filepath):
        return Path(filepath[len('far://') :]).read_bytes()

    def get_text(self, filepath, encoding='utf-8'):
        return self.get(filepath).decode(encoding)

    @contextlib.contextmanager
    def get_local_path(self, filepath):
        yield filepath[len('far://') :]


@pytest.mark.parametrize('form', ['voc', 'coco'])
@pytest.mark.parametrize('is_broken', [False, True])
def test_data_on_a_remote_storage(make_own, shapes, form, is_broken):
    register_backend('far', Far, force=True, prefixes='far')
    if is_broken:
        (shapes / 'JPEGImages' / '000000.jpg').write_bytes(b'no image')
    run = make_own(
        form,
        lines=f"""
train_dataloader = dict(dataset=dict(train_dataloader['dataset'], data_root='far://{shapes}/'))
""",
    )
    if is_broken:
        assert re.search('far://.*/000000.jpg cannot be read .*backend_args', told(run))
    else:
        assert Check()(run) is None


def test_remote_storage_is_tried(make_own):
    lines = """
loader = dict(type='LoadImageFromFile', backend_args=dict(backend='http'))
train_dataloader = dict(dataset=dict(train_dataloader['dataset'], pipeline=[loader, *_base_.train_pipeline[1:]]))
"""
    line = told(make_own('voc', lines=lines))
    assert re.search(r'JPEGImages/\d+.jpg cannot be read \(.*backend_args', line), line
