import copy
import statistics
import time

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import set_random_seed

STEPS = 3  # timed for an estimate


def time_training(cfg: Config, seed: int) -> float:
    """Seconds that a training takes: a few steps on the first images, times the number of steps.

    Neither measuring nor the start of the processes is in it.
    """
    cfg = copy.deepcopy(cfg)  # building a model writes into its config
    set_random_seed(seed)
    model = MODELS.build(cfg.model).train()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    size = cfg.train_dataloader.batch_size
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
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
