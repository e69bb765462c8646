"""Files that are written beside and renamed: a kill or a full disk leaves the old file or none, never half a file."""

import contextlib
import os
from pathlib import Path
from typing import IO, Iterator, Union

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import checkpoint_hook


def write_whole_files() -> None:
    """Have MMEngine write checkpoints, ``last_checkpoint`` and what else goes through its file backend whole.

    For the tools' own processes: a package that is imported leaves other people's files alone.
    """
    register_backend('local', WholeFileBackend, force=True, prefixes='')
    checkpoint_hook.open = open_whole  # it writes last_checkpoint past the backend


class WholeFileBackend(LocalBackend):
    """MMEngine's backend for local files, with ``put`` and ``put_text`` that write whole files."""

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        with written_beside(filepath) as part:
            super().put(obj, part)

    def put_text(self, obj: str, filepath: Union[str, Path], encoding: str = 'utf-8') -> None:
        with written_beside(filepath) as part:
            super().put_text(obj, part, encoding)


@contextlib.contextmanager
def open_whole(path: Union[str, Path], mode: str) -> Iterator[IO]:
    """Open a file for writing, as ``open(path, mode)`` does; it takes its place when it is closed."""
    with written_beside(path) as part, open(part, mode) as file:
        yield file


@contextlib.contextmanager
def written_beside(path: Union[str, Path]) -> Iterator[str]:
    """Let a file be written under another name in the same folder; it takes its place when that ends without an error.

    Args:
        path (str or Path): Its place. Where that is a link, the file that it links to is replaced.

    Yields:
        str: The name to write to, ``<path>.<process>.part``; ``path`` itself where that is a pipe or a device.
    """
    place = os.path.realpath(path)
    if os.path.exists(place) and not os.path.isfile(place):
        yield place
        return
    part = f'{place}.{os.getpid()}.part'  # others may write the same file
    try:
        yield part
        with open(part, 'rb+') as file:
            os.fsync(file.fileno())  # else a crash of the machine may keep the name and lose the content
        os.replace(part, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise
