import json
import sys
from functools import cached_property
from pathlib import Path
from typing import List, Optional

from mmengine.config import Config

from .execute import locked

EXECUTE = Path(__file__).with_name('execute.py')
ROOT = Path(__file__).resolve().parents[2]


class Run:
    """One training of one config with one seed, measured at its end, in a folder of its own.

    The folder holds MMEngine's logs and checkpoints, ``proposals.json`` (written by
    :class:`~mmdet_nrpn.ProposalMetric`) and, once finished, ``result.json``. Beside it lies the config that is run.

    Args:
        config (Path): The config; its evaluators are replaced by ``ProposalMetric``.
        seed (int): Of weights, data order and sampling.
        work_dir (Path): Folder of the benchmark; the run's own is ``work_dir / name / seed<seed>``.
        checkpoint (Path, optional): Measure this one instead of training; it is then part of the run's name.
    """

    def __init__(self, config: Path, seed: int, work_dir: Path, checkpoint: Optional[Path] = None) -> None:
        self.source = config
        self.seed = seed
        self.checkpoint = checkpoint and checkpoint.resolve()
        self.name = config.stem if checkpoint is None else f'{config.stem}@{checkpoint.stem}'
        self.folder = work_dir.resolve() / self.name / f'seed{seed}'
        # not in the folder: MMEngine writes a config of the same name there
        self.config_file = self.folder.with_suffix('.py')

    @cached_property
    def cfg(self) -> Config:
        """The config that is run."""
        cfg = Config.fromfile(self.source)
        given = dict(cfg.get('custom_imports') or {})
        imports = given.get('imports') or []
        imports = [imports] if isinstance(imports, str) else imports
        cfg.custom_imports = {**given, 'imports': sorted({*imports, 'mmdet_nrpn'})}
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=self.seed)
        # resumed, it samples the same; and a loss that is NaN ends it
        hooks = [dict(type='StepSeedHook'), dict(type='CheckInvalidLossHook')]
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *hooks]
        # measured once, after the training, so that an interruption anywhere leaves something to go on from
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.test_evaluator = dict(type='ProposalMetric', out_file=str(self.folder / 'proposals.json'))
        source = self.source.resolve()
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
        lines = log.read_text(encoding='utf-8', errors='replace').split('\n') if log.exists() else []
        said = [line.strip() for line in lines if line.strip()]
        return f'{said[-1]}; its log is {log}' if said else 'it said nothing'


def results_in(work_dir: Path) -> List[dict]:
    """The results of all finished runs in a benchmark's folder, with each run's ``name`` and ``curves``.

    Args:
        work_dir (Path): The folder.

    Returns:
        list[dict]: By name and seed.
    """
    results = []
    for file in sorted(work_dir.glob('*/seed*/result.json')):
        if '.old' not in file.parent.name:
            curves = json.loads((file.parent / 'proposals.json').read_text(encoding='utf-8'))
            result = json.loads(file.read_text(encoding='utf-8'))
            results.append(dict(result, name=file.parents[1].name, curves=curves))
    return results
