# A small Faster R-CNN that learns from nothing on a CPU: the network of rpn_r18-w16_fpn.py with group normalisation,
# which a teacher that is averaged from its student can share, and a second stage of 256 channels.
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py']
model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        norm_cfg=dict(_delete_=True, type='GN', num_groups=8, requires_grad=True),
        frozen_stages=-1,
        init_cfg=None,
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(output_size=5, sampling_ratio=1)),
        bbox_head=dict(in_channels=64, fc_out_channels=256, roi_feat_size=5, num_classes=3),
    ),
    # with anchors of one scale per level, 0.7 leaves many objects with one positive
    train_cfg=dict(
        rpn=dict(assigner=dict(pos_iou_thr=0.5)),
        rpn_proposal=dict(nms_pre=500, max_per_img=100),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=100)),
)
