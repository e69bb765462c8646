import copy
import itertools
import statistics
import time
from typing import Tuple

import torch
from detectors import build_model, tell_step
from mmengine.config import Config
from mmengine.runner import Runner, set_random_seed

STEPS = 3  # timed for an estimate


def time_training(cfg: Config, seed: int) -> Tuple[float, int]:
    """Seconds that a step of a training takes, from a few of them, and the number of its steps.

    Neither measuring nor the start of the processes is in it.
    """
    cfg = copy.deepcopy(cfg)
    set_random_seed(seed)
    model = build_model(cfg).train()
    without_workers = dict(num_workers=0, persistent_workers=False, prefetch_factor=None)
    loader = Runner.build_dataloader(dict(cfg.train_dataloader, **without_workers), seed=seed)
    batches = itertools.chain.from_iterable(itertools.repeat(loader, STEPS + 1))
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    times = []
    for number, data in enumerate(itertools.islice(batches, STEPS + 1)):
        tell_step(number)
        start = time.perf_counter()
        loss, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
        loss.backward()
        loss.item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    schedule = cfg.train_cfg
    return statistics.median(times[1:]), schedule.get('max_iters') or schedule.max_epochs * len(loader)
