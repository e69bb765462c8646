_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', './_base_/methods/nrpn.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = _base_.method
