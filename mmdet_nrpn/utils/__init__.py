from .checkpoints import read_checkpoint
from .detectors import load_weights, rpn_of

__all__ = ['load_weights', 'read_checkpoint', 'rpn_of']
