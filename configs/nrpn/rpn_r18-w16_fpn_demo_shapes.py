_base_ = [
    './_base_/models/rpn_r18-w16_fpn.py',
    './_base_/datasets/shapes.py',
    './_base_/schedules/schedule_demo.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
