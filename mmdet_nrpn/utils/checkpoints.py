from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np
import torch
from mmengine.logging import print_log
from torch import nn

from .named_pickle import load_named

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


# What is read beside weights, by its names in pickles. First NumPy's plain data, such as a data set's palette.
NAMED: Dict[str, Any] = {'numpy.ndarray': np.ndarray, 'numpy.dtype': np.dtype}
NAMED |= {f'numpy.dtypes.{kind.__name__}': kind for kind in (type(np.dtype(code)) for code in np.typecodes['All'])}
NAMED |= {
    f'numpy.{core}.multiarray.{name}': value.__reduce__()[0]
    for core in ('core', '_core')  # in NumPy 1 and in NumPy 2
    for name, value in (('_reconstruct', np.zeros(1)), ('scalar', np.float64(0)))
}
# What MMEngine's log history is pickled with; only the history is lost.
NAMED |= {'builtins.getattr': Inert, 'mmengine.logging.history_buffer.HistoryBuffer': Inert}


def read_checkpoint(path: Path) -> dict:
    """Load a checkpoint of ours, MMEngine's or torch's, so that nothing in it is executed.

    Args:
        path (Path): A local file.

    Returns:
        dict: What was saved, on the CPU.

    Raises:
        ValueError: If it holds anything but weights and what MMEngine writes, or is damaged.
    """
    try:
        if torch.__version__ < (2, 6):
            return load_named(path, NAMED)
        with torch.serialization.safe_globals([(value, name) for name, value in NAMED.items()]):
            return torch.load(path, map_location='cpu', weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file fails in many ways
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
