from .checkpoints import read_checkpoint
from .detectors import load_weights, rpn_of
from .files import can_become_file

__all__ = ['can_become_file', 'load_weights', 'read_checkpoint', 'rpn_of']
