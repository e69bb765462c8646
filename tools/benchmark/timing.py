import copy
import itertools
import statistics
import time

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner, set_random_seed

STEPS = 3  # timed for an estimate


def time_training(cfg: Config, seed: int) -> float:
    """Seconds that a training takes: a few steps, times the number of steps.

    Neither measuring nor the start of the processes is in it.
    """
    cfg = copy.deepcopy(cfg)  # building a model writes into its config
    set_random_seed(seed)
    model = MODELS.build(cfg.model).train()
    without_workers = dict(num_workers=0, persistent_workers=False, prefetch_factor=None)
    loader = Runner.build_dataloader(dict(cfg.train_dataloader, **without_workers), seed=seed)
    batches = itertools.chain.from_iterable(itertools.repeat(loader, STEPS + 1))
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    times = []
    for data in itertools.islice(batches, STEPS + 1):
        start = time.perf_counter()
        loss, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
        loss.backward()
        loss.item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    schedule = cfg.train_cfg
    steps = schedule.get('max_iters') or schedule.max_epochs * len(loader)
    return statistics.median(times[1:]) * steps
