from .dense_heads import HardNegativeRPNHead, NRPNHead
from .losses import OverlapLoss
from .task_modules import NRPNSampler

__all__ = ['HardNegativeRPNHead', 'NRPNHead', 'NRPNSampler', 'OverlapLoss']
