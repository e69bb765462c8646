# The same detector trained end to end on images, as rpn_efficientnet-lite0_fpn_320px_voc07.py is.
_base_ = [
    './_base_/faster-rcnn_efficientnet-lite0_fpn.py',
    '../../configs/nrpn/_base_/schedules/voc07_320px.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='area', iou_thrs=[0.5, 0.75])
test_evaluator = val_evaluator
