import argparse
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
