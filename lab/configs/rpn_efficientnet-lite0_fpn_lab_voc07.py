# An RPN on stored features of a frozen backbone, 500 steps in a minute (lab/pages/frozen_features.md).
_base_ = [
    '../../configs/nrpn/_base_/models/rpn_efficientnet-lite0_fpn.py',
    './_base_/voc07_features.py',
    '../../configs/nrpn/_base_/schedules/schedule_demo.py',
]
custom_imports = dict(imports=['mmdet_nrpn', 'lab'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(_delete_=True, type='mmengine.BaseDataPreprocessor'),
    backbone=dict(_delete_=True, type='StoredBackbone'),
)
custom_hooks = [dict(type='FlushDenormals')]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
