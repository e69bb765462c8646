import math
from numbers import Real
from pathlib import Path
from typing import Any


def check_number(
    owner: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    integer: bool = False,
    above_low: bool = False,
) -> None:
    """Refuse a setting that is no finite number from ``low`` to ``high``, with a ValueError that names key and value.

    ``owner`` has the setting, which is called ``name``. With ``integer`` it has to be a whole number, and with
    ``above_low`` it may not be ``low`` itself.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    within = is_number and low <= value <= high and not (above_low and value == low)
    if within and not (integer and value != int(value)):
        return
    kind = 'an integer' if integer else 'a number'
    bounds = 'that is finite'
    if math.isfinite(high):
        bounds = f'in {"(" if above_low else "["}{low}, {high}]'
    elif math.isfinite(low):
        bounds = f'{">" if above_low else ">="} {low}'
    raise ValueError(f'{owner}: {name} must be {kind} {bounds}, got {name}={value!r}')


def can_become_file(path: Path) -> bool:
    """Whether a path can be written as a file: it is no folder, and nothing above it is a file."""
    above = next(parent for parent in path.absolute().parents if parent.exists())
    return above.is_dir() and not path.is_dir()
