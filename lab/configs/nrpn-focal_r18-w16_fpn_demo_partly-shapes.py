_base_ = ['./rpn_r18-w16_fpn_demo_partly-shapes.py', '../../configs/nrpn/_base_/methods/nrpn-focal.py']
model = _base_.method
