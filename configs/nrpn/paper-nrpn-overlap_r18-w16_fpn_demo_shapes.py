_base_ = ['./rpn_r18-w16_fpn_demo_shapes.py', './_base_/methods/paper-nrpn-overlap.py']
model = _base_.method
