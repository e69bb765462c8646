# MMDetection's RPN on a caffe-style ResNet-50. The weights: $R50_CAFFE or, downloaded, Detectron2's.
_base_ = ['mmdet::_base_/models/rpn_r50_fpn.py']
model = dict(
    data_preprocessor=dict(mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='{{$R50_CAFFE:open-mmlab://detectron2/resnet50_caffe}}'),
    ),
)
