_base_ = ['./faster-rcnn_r18-w16_fpn_demo_semi-shapes.py', './_base_/methods/nrpn.py']
model = _base_.method
