from .checkpoints import is_whole, newest_whole_checkpoint, read_checkpoint
from .detectors import load_weights, rpn_of
from .files import can_become_file
from .mmdet_tools import run_mmdet_tool

__all__ = [
    'can_become_file',
    'is_whole',
    'load_weights',
    'newest_whole_checkpoint',
    'read_checkpoint',
    'rpn_of',
    'run_mmdet_tool',
]
