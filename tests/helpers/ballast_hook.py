import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class BallastHook(Hook):
    """Makes the checkpoint of one step 128 MiB larger, so that it takes a while to write."""

    def __init__(self, step):
        self.step = step

    def before_save_checkpoint(self, runner, checkpoint):
        if runner.iter + 1 == self.step:
            checkpoint['ballast'] = torch.zeros(2**25)
