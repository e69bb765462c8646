_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', './_base_/methods/nrpn.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = _base_.method
