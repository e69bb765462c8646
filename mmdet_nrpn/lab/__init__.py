"""The laboratory: RPNs that are trained on stored features of a frozen backbone, in about a minute on a CPU.

Not imported by ``import mmdet_nrpn``: ``custom_imports = dict(imports=['mmdet_nrpn', 'mmdet_nrpn.lab'], ...)``.
"""

from .features import FeatureDataset, FlushDenormals, StoredBackbone, store_features

__all__ = ['FeatureDataset', 'FlushDenormals', 'StoredBackbone', 'store_features']
