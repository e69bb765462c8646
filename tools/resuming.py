"""Which checkpoint ``--resume`` goes on from where the one that MMEngine's ``last_checkpoint`` names is not whole."""

import re
import time
import zipfile
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner


def pass_over_broken_checkpoints() -> None:
    """Let MMEngine's runner go on from an older checkpoint of the same run where the last one is not whole.

    All else that the runner does stays as it is: which folder it looks in and when it resumes at all.
    """
    stock = Runner.load_or_resume

    def load_or_resume(runner: Runner) -> None:
        if runner._resume and runner._load_from is None and not runner._has_loaded:
            instead, why = checkpoint_instead(Path(runner.work_dir), _checkpoint_hook(runner), runner.timestamp)
            if instead is not None:
                runner.logger.warning(f'{why}; going on from {instead}, of the same run')
                runner._load_from = str(instead)
        stock(runner)

    Runner.load_or_resume = load_or_resume


def _checkpoint_hook(runner: Runner) -> CheckpointHook:
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    return hooks[0] if hooks else CheckpointHook()


def checkpoint_instead(work_dir: Path, hook: CheckpointHook, now: str) -> Tuple[Optional[Path], str]:
    """The newest whole checkpoint where the last one is not whole, or not where ``last_checkpoint`` says.

    Args:
        work_dir (Path): The run's folder, where MMEngine wrote ``last_checkpoint``.
        hook (CheckpointHook): Knows how checkpoints are named, and where they are written.
        now (str): When this process started, as MMEngine names its folder.

    Returns:
        tuple: The checkpoint, None where ``last_checkpoint`` is to be followed or is not there; and what was passed
        over, with why.

    Raises:
        SystemExit: If no checkpoint of that run is whole.
    """
    stated = work_dir / 'last_checkpoint'
    if not stated.exists():
        return None, ''
    named = stated.read_text(encoding='utf-8').strip()
    last = Path(named)
    # one on a remote storage is not looked at, and DeepSpeed's are folders
    if '://' in named or (named and (last.is_dir() or is_whole(last))):
        return None, ''
    pattern = re.compile(re.escape(hook.filename_tmpl).replace(r'\{\}', r'(\d+)'))
    folder, moved = last.parent, work_dir / last.name
    passed = [_fault(last)]
    if not named:  # interrupted while it was written
        folder = Path(hook.out_dir, work_dir.name) if hook.out_dir else work_dir
        passed = [f'{stated} is empty: what it named was not written to its end']
    elif not last.exists() and (moved.exists() or not folder.exists()):  # the run's folder was moved
        folder = work_dir
        if is_whole(moved):
            return moved, passed[0]
        passed += [_fault(moved)] if moved.exists() else []
    processes = _processes(work_dir, now)
    for path in _before(processes, folder, pattern, last.name, stated.stat().st_mtime):
        if is_whole(path):
            return path, ', '.join(passed)
        passed.append(_fault(path))
    raise SystemExit(
        f'--resume: {", ".join(passed)}, and {folder} has no older checkpoint of that run; '
        'name one with --resume CHECKPOINT, or leave --resume out to start anew'
    )


def _fault(checkpoint: Path) -> str:
    return f'{checkpoint} ' + ('was not written to its end' if checkpoint.exists() else 'is not there')


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: torch's files are zip archives, with a checksum of every part."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _before(
    processes: Dict[float, Path], folder: Path, pattern: re.Pattern, name: str, written: float
) -> Iterator[Path]:
    """The checkpoints of a run before one of them, the newest first.

    A folder may hold those of older runs. To the run belong the checkpoints that its process wrote, the one that this
    process was resumed from, and those before that one in turn.

    Args:
        processes (dict[float, Path]): When processes started in the run's folder, and where their logs are.
        folder (Path): Of the checkpoint.
        pattern (Pattern): Of checkpoints' names; its group is the step or epoch.
        name (str): Of the checkpoint.
        written (float): When it was written.
    """
    until = float('inf')
    while True:
        start = max((start for start in processes if start <= written), default=float('-inf'))
        number = _number(pattern, name)
        own = {_number(pattern, path.name): path for path in folder.glob('*') if start <= path.stat().st_mtime < until}
        for other in sorted((n for n in own if n >= 0 and (n < number or number < 0)), reverse=True):
            yield own[other]
        origin = _resumed_from(processes[start]) if start in processes else None
        if origin is None or not origin.exists() or origin.stat().st_mtime >= start:
            return
        yield origin
        folder, name, written, until = origin.parent, origin.name, origin.stat().st_mtime, start


def _number(pattern: re.Pattern, name: str) -> int:
    match = pattern.fullmatch(name)
    return int(match[1]) if match else -1


def _processes(work_dir: Path, now: str) -> Dict[float, Path]:
    """When the processes before this one started; MMEngine names their folders after the time."""
    found = {}
    for path in work_dir.glob('[0-9]*_[0-9]*'):
        try:
            start = time.mktime(time.strptime(path.name, '%Y%m%d_%H%M%S'))
        except ValueError:
            continue
        if path.name != now:
            found[start] = path
    return found


def _resumed_from(folder: Path) -> Optional[Path]:
    """The checkpoint that a process was resumed from, as its log says."""
    for log in sorted(folder.glob('*.log')):
        loaded = None
        for line in log.read_text(encoding='utf-8', errors='replace').splitlines():
            if 'Load checkpoint from ' in line:
                loaded = line.split('Load checkpoint from ')[1].strip()
            elif 'resumed epoch: ' in line and loaded:
                return Path(loaded)
    return None
