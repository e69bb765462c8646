# MMDetection's SoftTeacher, a quarter of the images labelled. Start it (load_from) from the checkpoint of
# faster-rcnn_r18-w16_fpn_demo_semi-shapes.py, and the one with nrpn from that of nrpn. Thresholds and weights
# are lower than MMDetection's, whose teacher learns for 180 000 steps.
_base_ = [
    './_base_/models/faster-rcnn_r18-w16_fpn.py',
    './_base_/datasets/semi_shapes.py',
    './_base_/schedules/schedule_demo.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
detector = _base_.model
model = dict(
    _delete_=True,
    type='SoftTeacher',
    detector=detector,
    data_preprocessor=dict(type='MultiBranchDataPreprocessor', data_preprocessor=detector.data_preprocessor),
    semi_train_cfg=dict(
        freeze_teacher=True,
        sup_weight=1.0,
        unsup_weight=1.0,
        pseudo_label_initial_score_thr=0.3,
        rpn_pseudo_thr=0.7,
        cls_pseudo_thr=0.7,
        reg_pseudo_thr=0.05,
        jitter_times=10,
        jitter_scale=0.06,
        min_pseudo_bbox_wh=(1e-2, 1e-2),
    ),
    semi_test_cfg=dict(predict_on='teacher'),
)
val_cfg = dict(_delete_=True, type='TeacherStudentValLoop')
custom_hooks = [dict(type='MeanTeacherHook', momentum=0.02)]
optim_wrapper = dict(optimizer=dict(lr=5e-4))
