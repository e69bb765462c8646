# The detector of the paper's tables: mAP as VOC 2007 has it, over 11 points.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    './_base_/datasets/voc07.py',
    './_base_/schedules/schedule_1x_voc07.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='{{$R50_CAFFE:open-mmlab://detectron2/resnet50_caffe}}'),
    ),
    roi_head=dict(bbox_head=dict(num_classes=20)),
)
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='11points')
test_evaluator = val_evaluator
