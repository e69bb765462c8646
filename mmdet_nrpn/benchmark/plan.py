import copy
import statistics
import time
from datetime import datetime, timedelta
from typing import Dict, List, Optional

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.runner import set_random_seed

from .runs import Run

STEPS = 3  # timed for an estimate


class Plan:
    """The order of a benchmark's runs and how long they take.

    Runs go seed by seed, so that after each seed all rows can be compared.

    Args:
        runs (list[Run]): What is to be run.
    """

    def __init__(self, runs: List[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: run.seed)

    def expected_seconds(self, run: Run) -> Optional[float]:
        """Of the same config with other seeds, else of other configs; None before any has finished."""
        finished = [(other.name, other.result()) for other in self.runs if other.is_finished()]
        taken = [(name, result['seconds']) for name, result in finished if 'seconds' in result]
        same = [seconds for name, seconds in taken if name == run.name]
        return statistics.mean(same or [seconds for _, seconds in taken]) if taken else None

    def progress(self, number: int) -> str:
        """The line before a run: which of how many, and when all will be done."""
        run, left = self.runs[number], [run for run in self.runs[number:] if not run.is_finished()]
        line = f'run {number + 1} of {len(self.runs)}: {run.name}, {run.folder.name}'
        seconds = [self.expected_seconds(other) for other in left]
        if seconds and None not in seconds:
            line += f'; all done at about {datetime.now() + timedelta(seconds=sum(seconds)):%H:%M}'
        return line

    def estimate(self) -> Dict[str, float]:
        """Seconds of each unfinished run, by its folder; a config that never ran is timed for a few steps."""
        timed, seconds = {}, {}
        for run in self.runs:
            if not run.is_finished():
                if run.name not in timed:
                    timed[run.name] = time_training(run)
                seconds[str(run.folder)] = timed[run.name]
        return seconds


def time_training(run: Run) -> float:
    """Seconds that a training takes: a few steps on the first pictures, times the number of steps.

    Neither measuring nor the start of the processes is in it.
    """
    cfg = copy.deepcopy(run.cfg)
    set_random_seed(run.seed)
    model = MODELS.build(cfg.model).train()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    size = cfg.train_dataloader.batch_size
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model.to(device)
    times = []
    for step in range(STEPS + 1):
        data = pseudo_collate([dataset[(step * size + i) % len(dataset)] for i in range(size)])
        start = time.perf_counter()
        loss, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
        loss.backward()
        loss.item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    schedule = cfg.train_cfg
    steps = schedule.get('max_iters') or schedule.max_epochs * -(-len(dataset) // size)
    return statistics.median(times[1:]) * steps
