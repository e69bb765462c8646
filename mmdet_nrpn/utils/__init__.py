from .checkpoints import is_whole, newest_whole_checkpoint, read_checkpoint
from .mmdet_tools import run_mmdet_tool

__all__ = ['is_whole', 'newest_whole_checkpoint', 'read_checkpoint', 'run_mmdet_tool']
