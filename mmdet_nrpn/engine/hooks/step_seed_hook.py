import numpy as np
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed

MODEL, DATA = 0, 1


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds every training step from the run's seed, the step and the process, so that a resumed training draws what
    an uninterrupted one would have drawn (not in the paper). MMEngine's checkpoints keep no state of random numbers.

    What the model draws repeats always. Whether random steps of the data pipeline do is up to MMEngine: OneDL's moves
    on to the next data without loading what was passed over, so they repeat if they run in the training process
    (``num_workers=0``); OpenMMLab's loads it all again, so they repeat if they run in workers (``num_workers`` of at
    least 1). That holds for training by iterations; for epochs and accumulated gradients see docs/promises.md.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        _seed(runner, runner.iter, DATA)

    def before_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        _seed(runner, runner.iter, MODEL)

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        _seed(runner, runner.iter + 1, DATA)


def _seed(runner: Runner, step: int, purpose: int) -> None:
    set_random_seed(int(np.random.SeedSequence((runner.seed, step, get_rank(), purpose)).generate_state(1)[0]))
