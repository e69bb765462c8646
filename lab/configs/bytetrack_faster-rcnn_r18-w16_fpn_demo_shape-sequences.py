# A tracker by detection: the detector is trained on single frames, ByteTrack joins its detections to tracks.
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
    type='ByteTrack',
    data_preprocessor=dict(preprocessor, type='TrackDataPreprocessor', use_det_processor=True),
    detector=detector,
    tracker=dict(
        type='ByteTracker',
        motion=dict(type='KalmanFilter'),
        obj_score_thrs=dict(high=0.6, low=0.1),
        init_track_thr=0.7,
        weight_iou_with_det_scores=True,
        match_iou_thrs=dict(high=0.1, low=0.5, tentative=0.3),
        num_frames_retain=30,
    ),
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(
        _delete_=True,
        type='CocoDataset',
        data_root=_base_.data_root,
        ann_file='annotations/train_cocoformat.json',
        data_prefix=dict(img='train/'),
        metainfo=_base_.metainfo,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    ),
)
default_hooks = dict(visualization=dict(type='TrackVisualizationHook', draw=False))
visualizer = dict(type='TrackLocalVisualizer')
