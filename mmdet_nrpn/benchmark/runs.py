import hashlib
import json
import os
import statistics
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import List, Optional

from mmengine.config import Config

MMDET_TOOL = 'import sys; from mmdet_nrpn.utils import run_mmdet_tool; run_mmdet_tool(sys.argv.pop(1))'


class Run:
    """One training of one config with one seed, measured at its end, in a folder and in processes of its own.

    The folder holds MMEngine's logs and checkpoints, ``proposals.json`` (written by
    :class:`~mmdet_nrpn.ProposalMetric`) and, once finished, ``result.json``. Beside it lies the config that is run.
    A run that was interrupted goes on from its last checkpoint.

    Args:
        config (Path): The config; its evaluators are replaced by ``ProposalMetric``.
        seed (int): Of weights, data order and sampling.
        work_dir (Path): Folder of the benchmark; the run's own is ``work_dir / name / seed<seed>``.
        checkpoint (Path, optional): Measure this one instead of training; it is then part of the run's name.
    """

    def __init__(self, config: Path, seed: int, work_dir: Path, checkpoint: Optional[Path] = None) -> None:
        self.name = config.stem if checkpoint is None else f'{config.stem}@{checkpoint.stem}'
        self.source = config
        self.seed = seed
        self.checkpoint = checkpoint
        self.folder = work_dir / self.name / f'seed{seed}'
        # not in the folder: MMEngine writes a config of the same name there
        self.config_file = self.folder.with_suffix('.py')

    @property
    def result_file(self) -> Path:
        return self.folder / 'result.json'

    @cached_property
    def cfg(self) -> Config:
        """The config that is run."""
        cfg = Config.fromfile(self.source)
        imports = cfg.get('custom_imports', dict(imports=[], allow_failed_imports=False))
        imports['imports'] = sorted({*imports['imports'], 'mmdet_nrpn'})
        cfg.custom_imports = imports
        cfg.randomness = dict(seed=self.seed)
        # measured once, after the training, so that an interruption anywhere leaves something to go on from
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.test_evaluator = dict(type='ProposalMetric', out_file=str(self.folder / 'proposals.json'))
        return cfg

    def prepare(self, repeat: bool = False) -> bool:
        """Write the run's config. A folder that another config was run in is moved aside, never overwritten.

        Args:
            repeat (bool): Move a finished run aside, too.

        Returns:
            bool: Whether the run is finished already.
        """
        text = self.cfg.pretty_text
        same = self.config_file.exists() and self.config_file.read_text() == text
        if self.folder.exists() and (not same or (repeat and self.result_file.exists())):
            number = next(n for n in range(1, 10**6) if not self.folder.with_suffix(f'.old{n}').exists())
            moved = self.folder.rename(self.folder.with_suffix(f'.old{number}'))
            print(f'{self.folder} holds an earlier run; moved to {moved}')
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(text)
        return self.result_file.exists()

    def execute(self) -> None:
        """Train, measure and write ``result.json``.

        Raises:
            RuntimeError: If one of the two processes fails.
        """
        result = dict(
            config=str(self.source),
            config_sha256=hashlib.sha256(self.config_file.read_bytes()).hexdigest(),
            seed=self.seed,
        )
        checkpoint = self.checkpoint
        if checkpoint is None:
            memory = self._mmdet('train.py', '--resume')
            result['step_seconds'] = statistics.median(self._logged('time'))
            result['seconds'] = sum(self._logged('time')) * self.cfg.default_hooks.logger.get('interval', 10)
            result['peak_memory_mib'] = max(self._logged('memory') or [memory])
            checkpoint = (self.folder / 'last_checkpoint').read_text()
        self._mmdet('test.py', str(checkpoint))
        result['metrics'] = self.proposals()['metrics']
        self.result_file.write_text(json.dumps(result, indent=1))

    def result(self) -> Optional[dict]:
        """What was measured, or None if the run is not finished."""
        return json.loads(self.result_file.read_text()) if self.result_file.exists() else None

    def proposals(self) -> dict:
        """Metrics and curves as ``ProposalMetric`` wrote them."""
        return json.loads((self.folder / 'proposals.json').read_text())

    def _mmdet(self, tool: str, *args: str) -> float:
        """Run one of MMDetection's tools on this run's config; return the process's peak memory in MiB."""
        command = [sys.executable, '-c', MMDET_TOOL, tool, str(self.config_file), *args, '--work-dir', str(self.folder)]
        process = subprocess.Popen(command)
        try:
            _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), it tells this process's memory
        except KeyboardInterrupt:
            process.wait()
            raise
        if status != 0:
            raise RuntimeError(f'{self.name}, seed {self.seed}: {tool} failed; its log is in {self.folder}')
        return usage.ru_maxrss / 1024

    def _logged(self, key: str) -> List[float]:
        """What MMEngine logged under a name while training."""
        rows = []
        for file in sorted(self.folder.glob('*/vis_data/scalars.json')):
            rows += [json.loads(line) for line in file.read_text().splitlines()]
        return [row[key] for row in rows if key in row and 'lr' in row]
