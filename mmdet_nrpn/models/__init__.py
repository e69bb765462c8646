from .backbones import EfficientNetLite0
from .dense_heads import HardNegativeRPNHead, NRPNHead
from .losses import OverlapLoss
from .task_modules import NRPNSampler

__all__ = ['EfficientNetLite0', 'HardNegativeRPNHead', 'NRPNHead', 'NRPNSampler', 'OverlapLoss']
