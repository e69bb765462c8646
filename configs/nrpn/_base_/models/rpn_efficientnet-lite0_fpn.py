# EfficientNet-Lite0 with FPN of 64 channels from stride 8 on: real images on a CPU. The weights: $LITE0.
_base_ = ['mmdet::_base_/models/rpn_r50_fpn.py']
model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite0',
        init_cfg=dict(type='Pretrained', checkpoint='{{$LITE0:data/weights/efficientnet_lite0.pth}}'),
    ),
    neck=dict(in_channels=[40, 112, 320], out_channels=64, num_outs=4),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[8, 16, 32, 64]),
    ),
    # One scale per level leaves 4 positives per image at stock's 0.7, R50's stock RPN at 600x1000 has 10; 13 at 0.5.
    train_cfg=dict(rpn=dict(assigner=dict(pos_iou_thr=0.5))),
)
