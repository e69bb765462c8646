"""What an error or a file that is not there means, in one line that says what to do."""

import contextlib
import os
import re
from pathlib import Path
from typing import Iterator


@contextlib.contextmanager
def named(key: str) -> Iterator[None]:
    """Make any error a ValueError of one line that begins with the key or file that it is about."""
    try:
        yield
    except Exception as error:
        raise ValueError(f'{key}: {explain(error)}') from error


def explain(error: Exception) -> str:
    """One line for an exception; for the registry's and the file system's with what to do."""
    text = ' '.join(str(error).split())
    if missing := re.search(r'(\w+) is not in the (.+?) registry', text):
        return f"type='{missing[1]}' is not registered ({missing[2]}); check its spelling, and custom_imports"
    if isinstance(error, FileNotFoundError) and error.filename:
        return absence(Path(error.filename))
    if isinstance(error, ValueError):  # of this project's own, most of them, which say what to do
        return text
    return f'{type(error).__name__}: {text}'


def absence(path: Path) -> str:
    """Why there is no such file, and what to do."""
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            return f'{path} is not there: {place} is a link to {os.readlink(place)}, which is not; mend the link'
    beside = (other for other in path.parent.glob('*') if other.is_file())
    if alike := sorted(other.name for other in beside if other.stem.lower() == path.stem.lower()):
        return f'{path} is not there, but {alike[0]} is; rename such files, or write that name'
    return f'{path} is not there; check data_root, ann_file, data_prefix, or what else names it'
