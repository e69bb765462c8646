_base_ = ['./rpn_r18-w16_fpn_demo_shapes.py', './_base_/methods/rpn-focal-rank.py']
model = _base_.method
