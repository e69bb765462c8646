from .arguments import at_least, existing_file
from .checkpoints import read_checkpoint
from .detectors import load_weights, rpn_of
from .files import can_become_file

__all__ = ['at_least', 'can_become_file', 'existing_file', 'load_weights', 'read_checkpoint', 'rpn_of']
