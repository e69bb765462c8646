# MMDetection's cascade_rpn/cascade-rpn_r50-caffe_fpn_1x_coco.py on VOC 2007: its stages, samples, NMS and clipping.
# Theirs cannot be built: it lacks num_classes, and no stage knows its `sampling` (open-mmlab/mmdetection#11153).
_base_ = ['../../configs/nrpn/rpn_r50-caffe_fpn_1x_voc07.py']
_coder = dict(type='DeltaXYWHBBoxCoder', target_means=(0.0,) * 4)
_stage = dict(
    type='StageCascadeRPNHead',
    in_channels=256,
    feat_channels=256,
    reg_decoded_bbox=True,
    loss_bbox=dict(type='IoULoss', linear=True, loss_weight=10.0),
)
_of_stage = dict(allowed_border=-1, pos_weight=-1, debug=False)
model = dict(
    rpn_head=dict(
        _delete_=True,
        type='CascadeRPNHead',
        num_classes=1,
        num_stages=2,
        stages=[
            dict(
                **_stage,
                anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4, 8, 16, 32, 64]),
                adapt_cfg=dict(type='dilation', dilation=3),
                bridged_feature=True,
                with_cls=False,
                bbox_coder=dict(**_coder, target_stds=(0.1, 0.1, 0.5, 0.5)),
            ),
            dict(
                **_stage,
                adapt_cfg=dict(type='offset'),
                bridged_feature=False,
                with_cls=True,
                bbox_coder=dict(**_coder, target_stds=(0.05, 0.05, 0.1, 0.1)),
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
            ),
        ],
    ),
    train_cfg=dict(
        rpn=[
            dict(assigner=dict(type='RegionAssigner', center_ratio=0.2, ignore_ratio=0.5), **_of_stage),
            dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=0.7,
                    neg_iou_thr=0.7,
                    min_pos_iou=0.3,
                    ignore_iof_thr=-1,
                    iou_calculator=dict(type='BboxOverlaps2D'),
                ),
                sampler=dict(type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
                **_of_stage,
            ),
        ]
    ),
    test_cfg=dict(rpn=dict(nms_pre=2000, max_per_img=2000, nms=dict(type='nms', iou_threshold=0.8), min_bbox_size=0)),
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
