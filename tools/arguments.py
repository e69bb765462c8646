import argparse
import math
from pathlib import Path
from typing import Callable


def existing_file(text: str) -> Path:
    """A command line argument's type: a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f'{path} is not there' if not path.exists() else f'{path} is no file')
    return path


def at_least(least: int) -> Callable[[str], int]:
    """A command line argument's type: a whole number that is not below another."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f'must be {least} or more, got {text}')
        return int(text)

    return number


def non_negative(text: str) -> float:
    """A command line argument's type: a finite number, 0 or more."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'must be a finite number >= 0, got {text}')
    return value


def figure_beside(suffix: str) -> Callable[[str], Path]:
    """A command line argument's type: a figure to write, with its numbers in a file of that suffix beside it."""

    from mmdet_nrpn.utils import can_become_file  # here, for tools that only draw or list need no PyTorch

    def figure(text: str) -> Path:
        path = Path(text)
        if not can_become_file(path) or path.suffix not in ('.png', '.svg', '.pdf'):
            raise argparse.ArgumentTypeError(f'{path}: name a file in a folder, ending in .png, .svg or .pdf')
        table = path.with_suffix(suffix)
        if table.exists() and not path.exists():
            raise argparse.ArgumentTypeError(
                f'{path}: {table} is there already, and no figure of it; name another file'
            )
        return path

    return figure
