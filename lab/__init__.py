"""RPNs on stored features of a frozen backbone, in about a minute on a CPU, and ideas that were only tried.

Configs in lab/configs import it: run the tools from the repository's root with ``PYTHONPATH=.``.
"""

from .features import FeatureDataset, FlushDenormals, StoredBackbone, store_features
from .trials import (
    BatchRankLoss,
    FoldedMiningRPNHead,
    GradedNRPNHead,
    GradedRPNHead,
    QualityFocalRPNHead,
    RankWeightSchedule,
)

__all__ = [
    'BatchRankLoss', 'FeatureDataset', 'FlushDenormals', 'FoldedMiningRPNHead', 'GradedNRPNHead', 'GradedRPNHead',
    'QualityFocalRPNHead', 'RankWeightSchedule', 'StoredBackbone', 'store_features',
]  # fmt: skip
