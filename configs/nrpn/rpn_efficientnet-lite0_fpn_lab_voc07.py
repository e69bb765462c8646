# The laboratory (docs/lab.md): the same network on stored features of its frozen backbone, 500 steps in a minute.
# Its data set is in tools/lab, where tools/train.py and tools/benchmark.py find it.
_base_ = [
    './_base_/models/rpn_efficientnet-lite0_fpn.py',
    './_base_/datasets/voc07_features.py',
    './_base_/schedules/schedule_lab.py',
]
custom_imports = dict(imports=['mmdet_nrpn', 'lab'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(_delete_=True, type='mmengine.BaseDataPreprocessor'),
    backbone=dict(_delete_=True, type='StoredBackbone'),
)
custom_hooks = [dict(type='FlushDenormals')]
