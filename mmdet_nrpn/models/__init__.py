from .backbones import EfficientNetLite0
from .dense_heads import HardNegativeRPNHead, NRPNHead, PaperNRPNHead
from .detectors import IgnoringSoftTeacher
from .losses import HardNegativeRankLoss, OverlapLoss
from .roi_heads import ObjectnessCascadeRoIHead, ObjectnessMixin, ObjectnessRoIHead
from .task_modules import NRPNSampler

__all__ = [
    'EfficientNetLite0', 'HardNegativeRPNHead', 'HardNegativeRankLoss', 'IgnoringSoftTeacher', 'NRPNHead',
    'NRPNSampler', 'ObjectnessCascadeRoIHead', 'ObjectnessMixin', 'ObjectnessRoIHead', 'OverlapLoss', 'PaperNRPNHead',
]  # fmt: skip
