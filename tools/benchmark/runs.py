import copy
import inspect
import json
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from config_check.explain import named
from detectors import imports_with_package, read_config
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.runner import Runner

from mmdet_nrpn import ProposalMetric

from .execute import locked

EXECUTE = Path(__file__).with_name('execute.py')
ROOT = Path(__file__).resolve().parents[2]
# keys of hooks, evaluators and visualizers that say where something is written
OUTPUT = re.compile(r'(?:^|_)(?:out|save|log|dump|trace|results?)(?:\w*_|)(dir|folder|file|path|prefix)$|^(dir)_name$')
COCOS = {'proposal', 'proposal_fast'}
WRITERS = ('default_hooks', 'custom_hooks', 'visualizer', 'val_evaluator')


class Row(NamedTuple):
    """What one line of the table is of."""

    name: str
    source: Path  # the config's file
    cfg: Config


def rows_of_configs(paths: List[Path]) -> List[Row]:
    """A row for each config, named after its file."""
    return [Row(path.stem, path, read_config(path)) for path in paths]


def rows_of_file(path: Path) -> List[Row]:
    """The rows of a JSON file, ``{name: {'config': file, key: value}}``, the baseline first.

    Configs are relative to it. What stands under ``'*'`` is changed in every row, before its own changes.

    Raises:
        ValueError: If it has no row, or one without a config, with a key that none has or a name that is no folder's.
    """
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
        of_all = rows.pop('*', {})
        named = {name: {**of_all, **row} for name, row in rows.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f'{path} is no JSON of {{name: {{"config": file, key: value}}}} ({error})') from None
    if not named:
        raise ValueError(f'{path} has no row; write {{"name": {{"config": "file.py"}}}}')
    return [_row(path, name, changes) for name, changes in named.items()]


def _row(path: Path, name: str, changes: Dict[str, object]) -> Row:
    of_row = f'{path}: row {name!r}'
    if name != Path(name).name or name == '..':
        raise ValueError(f"{of_row}: its runs get a folder of this name; write one without '/'")
    source = path.parent / str(changes.pop('config', ''))
    if not source.is_file():
        raise ValueError(f'{of_row}: config {source} is not there')
    with named(of_row):
        cfg = read_config(source)
        known = {*cfg, *inspect.signature(Runner.__init__).parameters}
        for key in changes:
            if key.split('.')[0] not in known:
                raise ValueError(f'{key} would change nothing, for no config has it; check its spelling')
        cfg.merge_from_dict(changes)
    return Row(name, source, cfg)


class Run:
    """One training of one row with one seed, measured at its end, in a folder of its own.

    The folder holds MMEngine's logs and checkpoints and, once finished, ``result.json``. Beside it lies the config that
    is run.

    Args:
        row (Row): The config. ``ProposalMetric`` is added to its evaluators, and all that it writes goes to the folder.
        seed (int): Of weights, data order and sampling.
        work_dir (Path): Folder of the benchmark; the run's own is ``work_dir / name / seed<seed>``.
        checkpoint (Path, optional): Measure this one instead of training; it is then part of the run's name.
    """

    def __init__(self, row: Row, seed: int, work_dir: Path, checkpoint: Optional[Path] = None) -> None:
        self.row = row
        self.seed = seed
        self.checkpoint = checkpoint and checkpoint.resolve()
        self.name = row.name if checkpoint is None else f'{row.name}@{checkpoint.stem}'
        self.folder = work_dir.resolve() / self.name / f'seed{seed}'
        # not in the folder: MMEngine writes a config of the same name there
        self.config_file = self.folder.with_suffix('.py')

    @cached_property
    def cfg(self) -> Config:
        """The config that is run."""
        cfg = copy.deepcopy(self.row.cfg)
        cfg.custom_imports = imports_with_package(cfg)
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=self.seed)
        # resumed, it samples the same; and a loss that is NaN ends it. With a scope: a config may have none by default
        hooks = [dict(type='mmdet.StepSeedHook'), dict(type='mmdet.CheckInvalidLossHook')]
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *hooks]
        with named(str(self.row.source)):
            cfg.val_evaluator = evaluators(cfg)
            refuse_what_validates(cfg)
        for key in WRITERS:
            if cfg.get(key):
                cfg[key] = redirected(cfg[key], self.folder)
        source = self.row.source.resolve()
        cfg.benchmarked_config = str(source.relative_to(ROOT) if source.is_relative_to(ROOT) else source)
        if self.checkpoint is not None:
            # another file, or the same one trained on, makes it another run
            stat = self.checkpoint.stat()
            cfg.measured_checkpoint = dict(path=str(self.checkpoint), size=stat.st_size, changed=stat.st_mtime)
        return cfg

    @cached_property
    def text(self) -> str:
        """The config that is run, as Python; formatting it takes a second."""
        return self.cfg.pretty_text

    def is_finished(self) -> bool:
        """Whether this very config was run to its end."""
        return (self.folder / 'result.json').exists() and self._was_prepared()

    def _was_prepared(self) -> bool:
        return self.config_file.exists() and self.config_file.read_text(encoding='utf-8') == self.text

    def prepare(self) -> None:
        """Write the run's config; a folder that another config was run in is moved aside, never overwritten.

        Raises:
            SystemExit: If another config is being run in it.
        """
        if self._was_prepared():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            if self.folder.exists():
                number = next(n for n in range(1, 10**6) if not self.folder.with_suffix(f'.old{n}').exists())
                moved = self.folder.rename(self.folder.with_suffix(f'.old{number}'))
                print(f'{self.folder} holds a run of another config; moved to {moved}', file=sys.stderr)
            self.config_file.write_text(self.text, encoding='utf-8')

    def command(self) -> List[str]:
        """The process that trains, measures and writes ``result.json``, or finds that all is done."""
        return [sys.executable, str(EXECUTE), str(self.config_file)]

    def last_words(self) -> str:
        """The last line that was printed by a run that failed, and where the others are."""
        log = self.folder.with_suffix('.log')
        said = log.read_text(encoding='utf-8', errors='replace').split('\n') if log.exists() else []
        return f'{next((line.strip() for line in said[::-1] if line.strip()), "it said nothing")}; its log is {log}'


def refuse_what_validates(cfg: Config) -> None:
    """Refuse what acts on a validation, for a run has one at its end alone."""
    for key in ('param_scheduler', 'custom_hooks', 'default_hooks'):
        parts = cfg.get(key) or []
        for part in [parts, *parts.values()] if isinstance(parts, dict) else parts:
            if isinstance(part, dict) and re.search('ReduceOnPlateau|EarlyStopping', str(part.get('type'))):
                raise ValueError(f'{key}: {part["type"]} acts on validations, and a run has one at its end; drop it')


def evaluators(cfg: Config) -> List[dict]:
    """The config's own evaluators and a ``ProposalMetric``, which takes the place of COCO's for proposals.

    A tracker's outputs are no proposals: there, the config's own alone.
    """
    given = cfg.get('val_evaluator') or []
    if isinstance(given, dict) and 'metrics' in given:
        kind = given.get('type', 'Evaluator')
        if re.split(r'[.]', getattr(kind, '__name__', kind))[-1] != 'Evaluator':
            raise ValueError(f'val_evaluator.type={kind!r} takes no ProposalMetric; write a list of metrics')
        given = given['metrics']
    given = [given] if isinstance(given, dict) else list(given)
    own = [evaluator for evaluator in given if not _is_of_proposals(evaluator)]
    return own if 'tracker' in cfg.model else [*own, dict(type='mmdet.ProposalMetric')]


def _is_of_proposals(evaluator: dict) -> bool:
    kind, metrics = evaluator.get('type'), evaluator.get('metric') or ''
    kind = METRICS.get(kind) if isinstance(kind, str) else kind
    return kind is ProposalMetric or {*([metrics] if isinstance(metrics, str) else metrics)} <= COCOS


def redirected(value: Any, folder: Path) -> Any:
    """Hooks, evaluators or visualizers that write to a run's folder, where they would share another with other runs.

    Without a ``save_dir``, a visualizer writes beside the log.
    """
    if isinstance(value, (list, tuple)):
        return [redirected(item, folder) for item in value]
    if inspect.isclass(value) or inspect.isfunction(value):  # of a pure Python config; as text it can be read again
        return f'{value.__module__}.{value.__qualname__}'
    if not isinstance(value, dict):
        return value
    result = {key: redirected(item, folder) for key, item in value.items() if key != 'save_dir'}
    for key, item in result.items():
        if isinstance(item, (str, Path)) and (place := OUTPUT.search(key)):
            result[key] = str(folder if {*place.groups()} & {'dir', 'folder'} else folder / Path(item).name)
    return result


def results_in(work_dir: Path) -> List[dict]:
    """The results of all finished runs in a benchmark's folder by name and seed, with each run's ``name``."""
    return [
        dict(json.loads(file.read_text(encoding='utf-8')), name=file.parents[1].name)
        for file in sorted(work_dir.glob('*/seed*/result.json'))
        if '.old' not in file.parent.name
    ]
