import ctypes
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import List, Optional

from mmengine.config import Config

from ..utils import newest_whole_checkpoint

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
        self.source = config
        self.seed = seed
        self.checkpoint = checkpoint and checkpoint.resolve()
        self.name = config.stem if checkpoint is None else f'{config.stem}@{checkpoint.stem}'
        self.folder = work_dir.resolve() / self.name / f'seed{seed}'
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
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='StepSeedHook')]  # resumed, it draws the same
        # measured once, after the training, so that an interruption anywhere leaves something to go on from
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.test_evaluator = dict(type='ProposalMetric', out_file=str(self.folder / 'proposals.json'))
        if self.checkpoint is not None:
            # another file, or the same one trained on, makes it another run
            stat = self.checkpoint.stat()
            cfg.measured_checkpoint = dict(path=str(self.checkpoint), size=stat.st_size, changed=stat.st_mtime)
        return cfg

    @cached_property
    def text(self) -> str:
        """The config that is run, as Python; formatting it takes a while, and a plan asks every run for it often."""
        return self.cfg.pretty_text

    def is_finished(self) -> bool:
        """Whether this very config was run to its end."""
        return self.result_file.exists() and self._was_prepared()

    def _was_prepared(self) -> bool:
        return self.config_file.exists() and self.config_file.read_text() == self.text

    def prepare(self) -> None:
        """Write the run's config; a folder that another config was run in is moved aside, never overwritten."""
        if self.folder.exists() and not self._was_prepared():
            self.move_aside()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(self.text)

    def move_aside(self) -> None:
        """Keep what an earlier run left, and make room for a new one."""
        number = next(n for n in range(1, 10**6) if not self.folder.with_suffix(f'.old{n}').exists())
        moved = self.folder.rename(self.folder.with_suffix(f'.old{number}'))
        print(f'{self.folder} holds an earlier run; moved to {moved}')

    def execute(self, environment: dict) -> None:
        """Train, measure and write ``result.json``.

        Args:
            environment (dict): What it is run with; written beside the result.

        Raises:
            RuntimeError: If one of the two processes fails.
        """
        self.prepare()
        text = Config.fromfile(self.source).pretty_text
        result = dict(
            config=os.path.relpath(self.source),
            config_sha256=hashlib.sha256(text.encode()).hexdigest(),
            seed=self.seed,
            environment=environment,
        )
        checkpoint = self.checkpoint
        if checkpoint is None:
            # only where there is something to go on from: to resume throws a config's load_from away
            last = newest_whole_checkpoint(self.folder)
            memory = self._mmdet('train.py', *(['--resume', str(last)] if last else []))
            times = self._logged('time')
            if times:
                result['step_seconds'] = statistics.median(times)
                result['seconds'] = result['step_seconds'] * self.num_steps()
            result['peak_memory_mib'] = max(self._logged('memory') or [memory])
            checkpoint = newest_whole_checkpoint(self.folder)
        self._mmdet('test.py', str(checkpoint))
        result['metrics'] = self.proposals()['metrics']
        # whole or not at all, also when killed while writing
        part = self.result_file.with_suffix('.part')
        part.write_text(json.dumps(result, indent=1))
        part.replace(self.result_file)

    def num_steps(self) -> int:
        """Steps of the training, as the log's last line tells."""
        return int(max(self._logged('step')))

    def result(self) -> Optional[dict]:
        """What was measured, or None if the run is not finished."""
        return json.loads(self.result_file.read_text()) if self.result_file.exists() else None

    def proposals(self) -> dict:
        """Metrics and curves as ``ProposalMetric`` wrote them."""
        return json.loads((self.folder / 'proposals.json').read_text())

    def _mmdet(self, tool: str, *args: str) -> float:
        """Run one of MMDetection's tools on this run's config; return the process's peak memory in MiB."""
        command = [sys.executable, '-c', MMDET_TOOL, tool, str(self.config_file), *args, '--work-dir', str(self.folder)]
        process = subprocess.Popen(command, preexec_fn=_end_with_parent)
        try:
            _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), it tells this process's memory
        except BaseException:
            process.terminate()
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


def _end_with_parent() -> None:
    """Let the kernel end a training whose benchmark was killed: two at once would write into one folder."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
