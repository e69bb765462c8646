"""The laboratory: RPNs that are trained on stored features of a frozen backbone, in about a minute on a CPU.

Its configs name it in ``custom_imports``, and are run by the tools in this folder's parent, which find it there.
"""

from .features import FeatureDataset, FlushDenormals, StoredBackbone, store_features
from .trials import FoldedMiningRPNHead, GradedNRPNHead, GradedRPNHead, QualityFocalRPNHead, RankWeightSchedule

__all__ = [
    'FeatureDataset', 'FlushDenormals', 'FoldedMiningRPNHead', 'GradedNRPNHead', 'GradedRPNHead', 'QualityFocalRPNHead',
    'RankWeightSchedule', 'StoredBackbone', 'store_features',
]  # fmt: skip
