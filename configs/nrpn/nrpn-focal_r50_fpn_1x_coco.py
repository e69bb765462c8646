_base_ = ['./rpn_r50_fpn_1x_coco.py', './_base_/methods/nrpn-focal.py']
model = _base_.method
