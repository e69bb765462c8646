# The network on stored features with a second stage: what an RPN is worth to a detector on real images.
_base_ = [
    './_base_/faster-rcnn_efficientnet-lite0_fpn.py',
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
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='area', iou_thrs=[0.5, 0.75])
test_evaluator = val_evaluator
