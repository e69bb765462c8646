# MMDetection's QDTrack, smaller.
_base_ = [
    '../../configs/nrpn/_base_/models/faster-rcnn_r18-w16_fpn.py',
    './_base_/shape_sequences.py',
    '../../configs/nrpn/_base_/schedules/schedule_demo.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
detector = _base_.model
detector.roi_head.bbox_head.num_classes = 1
preprocessor = detector.pop('data_preprocessor')
del _base_.model
model = dict(
    type='QDTrack',
    data_preprocessor=dict(preprocessor, type='TrackDataPreprocessor'),
    detector=detector,
    track_head=dict(
        type='QuasiDenseTrackHead',
        roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=64,
            featmap_strides=[4, 8, 16, 32],
        ),
        embed_head=dict(
            type='QuasiDenseEmbedHead',
            num_convs=2,
            num_fcs=1,
            in_channels=64,
            conv_out_channels=64,
            fc_out_channels=256,
            embed_channels=64,
            norm_cfg=dict(type='GN', num_groups=16),
            loss_track=dict(type='MultiPosCrossEntropyLoss', loss_weight=0.25),
            loss_track_aux=dict(
                type='MarginL2Loss', neg_pos_ub=3, pos_margin=0, neg_margin=0.1, hard_mining=True, loss_weight=1.0
            ),
        ),
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='CombinedSampler',
                num=64,
                pos_fraction=0.5,
                neg_pos_ub=3,
                add_gt_as_proposals=True,
                pos_sampler=dict(type='InstanceBalancedPosSampler'),
                neg_sampler=dict(type='RandomSampler'),
            ),
        ),
    ),
    tracker=dict(
        type='QuasiDenseTracker',
        init_score_thr=0.7,
        obj_score_thr=0.3,
        match_score_thr=0.5,
        memo_tracklet_frames=30,
        memo_backdrop_frames=1,
        memo_momentum=0.8,
        nms_conf_thr=0.5,
        nms_backdrop_iou_thr=0.3,
        nms_class_iou_thr=0.7,
        with_cats=True,
        match_metric='bisoftmax',
    ),
)
default_hooks = dict(visualization=dict(type='TrackVisualizationHook', draw=False))
visualizer = dict(type='TrackLocalVisualizer')
