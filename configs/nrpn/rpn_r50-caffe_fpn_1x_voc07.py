_base_ = [
    './_base_/models/rpn_r50-caffe_fpn.py',
    './_base_/datasets/voc07.py',
    './_base_/schedules/schedule_1x_voc07.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
