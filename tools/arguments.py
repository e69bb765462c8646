"""What the tools' command lines have in common."""

import argparse
import contextlib
import math
import sys
from pathlib import Path
from typing import Callable, Iterator


class _Formatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    pass


class Parser(argparse.ArgumentParser):
    """Has a tool's docstring as it stands, the defaults, and first the files that it reads, by these names."""

    def __init__(self, about: str, *files: str, **kwargs) -> None:
        super().__init__(description=about, formatter_class=_Formatter, **kwargs)
        for name in files:
            self.add_argument(name, type=existing_file)

    def beside(self, figure: Path, suffix: str) -> Path:
        """Where a figure's numbers go, which may not be the place of other ones."""
        numbers = figure.with_suffix(suffix)
        if numbers.exists() and not figure.exists():
            self.error(f'--out {figure}: {numbers} is there already, and no figure of it; name another file')
        return numbers


@contextlib.contextmanager
def told(of: object = None) -> Iterator[None]:
    """End the tool with a ValueError's words, which say what to do, and without a traceback."""
    try:
        yield
    except ValueError as error:
        sys.exit(f'{of}: {error}' if of else str(error))


def existing_file(text: str) -> Path:
    """A command line argument's type: a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f'{path} is not there' if not path.exists() else f'{path} is no file')
    return path


def folder(text: str) -> Path:
    """A command line argument's type: a folder that is there, or can be made."""
    if Path(text).exists() and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f'{text} is a file; name a folder')
    return Path(text)


def new_file(*suffixes: str) -> Callable[[str], Path]:
    """A command line argument's type: a file to write, whose name ends in one of these."""

    def path(text: str) -> Path:
        from mmdet_nrpn.utils import can_become_file  # which takes seconds

        if not can_become_file(Path(text)) or Path(text).suffix not in suffixes:
            raise argparse.ArgumentTypeError(f'{text}: name a file in a folder, ending in {" or ".join(suffixes)}')
        return Path(text)

    return path


def at_least(least: float, kind: type = int) -> Callable[[str], float]:
    """A command line argument's type: a finite number that is not below another."""

    def number(text: str) -> float:
        if not least <= kind(text) < math.inf:
            raise argparse.ArgumentTypeError(f'must be {least} or more, got {text}')
        return kind(text)

    return number
