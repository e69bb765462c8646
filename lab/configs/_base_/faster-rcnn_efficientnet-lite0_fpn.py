# The RPN of rpn_efficientnet-lite0_fpn.py with a small second stage.
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py']
model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True, pad_mask=False),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite0',
        init_cfg=dict(type='Pretrained', checkpoint='{{$LITE0:data/weights/efficientnet_lite0.pth}}'),
    ),
    neck=dict(in_channels=[40, 112, 320], out_channels=64, num_outs=4),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4], strides=[8, 16, 32, 64])),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=64, featmap_strides=[8, 16, 32], roi_layer=dict(output_size=5, sampling_ratio=1)
        ),
        bbox_head=dict(in_channels=64, fc_out_channels=256, roi_feat_size=5, num_classes=20),
    ),
    # as in rpn_efficientnet-lite0_fpn.py
    train_cfg=dict(
        rpn=dict(assigner=dict(pos_iou_thr=0.5)),
        rpn_proposal=dict(nms_pre=500, max_per_img=300),
        rcnn=dict(sampler=dict(num=128)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300)),
)
