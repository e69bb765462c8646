import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Optional

import torch


class Inert:
    """Stands for whatever else a checkpoint holds, so that reading it executes nothing."""

    def __init__(self, *args) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# What MMEngine's log history is pickled with; only the history is lost.
STAND_INS = [
    (Inert, name)
    for name in (
        'builtins.getattr',
        'mmengine.logging.history_buffer.HistoryBuffer',
        'numpy.dtype',
        'numpy.ndarray',
        *(f'numpy.{core}.multiarray.{name}' for core in ('core', '_core') for name in ('_reconstruct', 'scalar')),
    )
]


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
        with torch.serialization.safe_globals(STAND_INS):
            return torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        lines = str(error).strip().splitlines()
        reason = next((line.strip() for line in lines if 'GLOBAL' in line), (lines or [type(error).__name__])[0])
        raise ValueError(f'{path} cannot be read as a checkpoint of weights alone: {reason}') from error


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: torch's files are zip archives, with a checksum of every part."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def newest_whole_checkpoint(work_dir: Path) -> Optional[Path]:
    """The checkpoint to go on from; one that a kill or a full disk cut short is named in a warning and passed over.

    Args:
        work_dir (Path): Where MMEngine wrote ``epoch_N.pth`` or ``iter_N.pth``.

    Returns:
        Path or None: The newest that is whole. None if there is none.
    """
    checkpoints = [path for path in work_dir.glob('*.pth') if path.stem.split('_')[-1].isdigit()]
    for path in sorted(checkpoints, key=lambda path: int(path.stem.split('_')[-1]), reverse=True):
        if is_whole(path):
            return path
        warnings.warn(f'{path} was not written to its end; going on from the one before it', stacklevel=2)
    return None
