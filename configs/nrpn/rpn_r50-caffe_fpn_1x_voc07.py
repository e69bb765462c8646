_base_ = [
    'mmdet::_base_/models/rpn_r50_fpn.py',
    './_base_/datasets/voc07.py',
    './_base_/schedules/schedule_1x_voc07.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='{{$R50_CAFFE:open-mmlab://detectron2/resnet50_caffe}}'),
    ),
)
