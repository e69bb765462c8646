from .backbones import EfficientNetLite0
from .dense_heads import HardNegativeRPNHead, NRPNHead, PaperNRPNHead
from .detectors import IgnoringSoftTeacher
from .losses import HardNegativeRankLoss, OverlapLoss
from .task_modules import NRPNSampler

__all__ = [
    'EfficientNetLite0', 'HardNegativeRPNHead', 'HardNegativeRankLoss', 'IgnoringSoftTeacher', 'NRPNHead',
    'NRPNSampler', 'OverlapLoss', 'PaperNRPNHead',
]  # fmt: skip
