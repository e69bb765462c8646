import pickle
from pathlib import Path
from typing import Any, List, Optional

import numpy as np
import torch
from mmengine.logging import print_log
from torch import nn

# Before the names of an nRPN's weights in those of its RPN, which it is an attribute of.
NRPN_PREFIX = 'nrpn_head.'


def is_of_nrpn(key: str) -> bool:
    """Whether a weight is an nRPN's by its name, such as 'rpn_head.nrpn_head.nrpn_cls.bias'."""
    return f'.{NRPN_PREFIX}' in f'.{key}'


def without_nrpn(state_dict: dict) -> dict:
    """The weights of a detector without those of an nRPN."""
    return {key: value for key, value in state_dict.items() if not is_of_nrpn(key)}


class Inert:
    """Stands for what only a log history needs, so that reading it executes nothing."""

    def __init__(self, *args) -> None:
        pass

    __setstate__ = __init__


# Plain data beside the weights: NumPy's, such as a data set's palette. Arrays of objects are refused.
PLAIN: List[Any] = [np.ndarray, np.dtype, *{type(np.dtype(code)) for code in np.typecodes['All']}]
# by the names that NumPy 1 and NumPy 2 give them
PLAIN += [
    (value.__reduce__()[0], f'numpy.{core}.multiarray.{name}')
    for core in ('core', '_core')
    for name, value in (('_reconstruct', np.zeros(1)), ('scalar', np.float64(0)))
]
# What MMEngine's log history is pickled with; only the history is lost.
STAND_INS = [(Inert, 'builtins.getattr'), (Inert, 'mmengine.logging.history_buffer.HistoryBuffer')]


def read_checkpoint(path: Path) -> dict:
    """Load a checkpoint of ours, MMEngine's or torch's with ``weights_only``, so that nothing in it is executed.

    Args:
        path (Path): A local file.

    Returns:
        dict: What was saved, on the CPU.

    Raises:
        ValueError: If it holds anything but weights and what MMEngine writes, or is damaged.
    """
    try:
        with torch.serialization.safe_globals([*PLAIN, *STAND_INS]):
            return torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        lines = str(error).strip().splitlines()
        reason = next((line.strip() for line in lines if 'GLOBAL' in line), (lines or [type(error).__name__])[0])
        raise ValueError(f'{path} cannot be read as a checkpoint of weights alone: {reason}') from error


def fresh_nrpn_if_other(state_dict: dict, prefix: str, nrpn_head: Optional[nn.Module]) -> None:
    """Let a checkpoint with another nRPN or none load, also strictly; it is called while a model loads.

    A model built for inference has no nRPN and leaves a training checkpoint's out. In training, a checkpoint without an
    nRPN of this kind keeps the fresh one, and a line says so. ``state_dict``, the checkpoint's weights, is changed in
    place; ``prefix`` is that of the RPN's keys in it.
    """
    prefix = prefix + NRPN_PREFIX
    given = {key: value for key, value in state_dict.items() if key.startswith(prefix)}
    own = {} if nrpn_head is None else nrpn_head.state_dict(prefix=prefix)
    if {key: value.shape for key, value in given.items()} == {key: value.shape for key, value in own.items()}:
        return
    if own:
        name = type(nrpn_head).__name__
        print_log(f'The checkpoint holds no {name} of this shape; the nRPN starts from new weights', 'current')
    for key in given:
        state_dict.pop(key)
    state_dict.update(own)
