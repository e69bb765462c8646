"""``torch.load`` of tensors and of what is named, as torch before 2.6 lacks it.

Its ``weights_only`` takes no further names there, and reads tar files and TorchScript, which may execute code.
"""

import codecs
import pickle
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict

import torch


def load_named(path: Path, named: Dict[str, Any]) -> Any:
    """Load a file onto the CPU; a pickle in it is restricted as Python's documentation of ``pickle`` says.

    Args:
        path (Path): As ``torch.save`` wrote it.
        named (dict[str, Any]): What it may hold beside tensors and plain values, by module and name.

    Raises:
        pickle.UnpicklingError: If it holds anything else, or is a tar file or TorchScript.
    """
    from torch._weights_only_unpickler import _get_allowed_globals  # private: newer ones need not have it

    allowed = {**_get_allowed_globals(), '_codecs.encode': codecs.encode, **named}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            key = f'{module}.{name}'.replace('__builtin__.', 'builtins.')  # as Python 2 calls it, and torch writes it
            if key not in allowed:
                raise pickle.UnpicklingError(f'Unsupported GLOBAL {key}')
            return allowed[key]

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    if tarfile.is_tarfile(path) or _is_torchscript(path):
        raise pickle.UnpicklingError('a tar file or TorchScript')
    restricted = SimpleNamespace(Unpickler=Unpickler, load=load, __name__='restricted')
    return torch.load(path, map_location='cpu', pickle_module=restricted, weights_only=False)


def _is_torchscript(path: Path) -> bool:
    with path.open('rb') as file:
        zipped = torch.serialization._is_zipfile(file)
    return zipped and torch.serialization._is_torchscript_zip(torch._C.PyTorchFileReader(str(path)))
