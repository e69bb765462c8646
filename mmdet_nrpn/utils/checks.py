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
    """Refuse a setting that is no finite number within its bounds, which are allowed themselves.

    Args:
        owner (str): Whose setting it is.
        name (str): Its key.
        value (Any): What was given.
        low (float): Least value. Defaults to -infinity.
        high (float): Largest value. Defaults to infinity.
        integer (bool): Whether it has to be a whole number. Defaults to False.
        above_low (bool): Whether the least value is not allowed itself. Defaults to False.

    Raises:
        ValueError: Naming key, value and bounds.
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
