"""nRPN for MMDetection: region proposal networks that learn from hard negatives.

Importing this package registers everything in MMDetection's own registries, so a config only needs
``custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)``.
"""

from .engine import HardNegativeVisualizationHook, StepSeedHook
from .evaluation import FROCMetric, ProposalMetric
from .models import (
    EfficientNetLite0,
    HardNegativeRankLoss,
    HardNegativeRPNHead,
    IgnoringSoftTeacher,
    NRPNHead,
    NRPNSampler,
    ObjectnessCascadeRoIHead,
    ObjectnessMixin,
    ObjectnessRoIHead,
    OverlapLoss,
    PaperNRPNHead,
)
from .version import __version__

__all__ = [
    'EfficientNetLite0', 'FROCMetric', 'HardNegativeRPNHead', 'HardNegativeRankLoss', 'HardNegativeVisualizationHook',
    'IgnoringSoftTeacher', 'NRPNHead', 'NRPNSampler', 'ObjectnessCascadeRoIHead', 'ObjectnessMixin',
    'ObjectnessRoIHead', 'OverlapLoss', 'PaperNRPNHead', 'ProposalMetric', 'StepSeedHook', '__version__',
]  # fmt: skip
