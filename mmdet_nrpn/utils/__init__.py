from .checkpoints import read_checkpoint
from .detectors import load_weights, rpn_of
from .mmdet_tools import run_mmdet_tool

__all__ = ['load_weights', 'read_checkpoint', 'rpn_of', 'run_mmdet_tool']
