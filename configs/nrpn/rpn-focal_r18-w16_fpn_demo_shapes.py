# The peer of RetinaNet: all anchors, focal loss.
_base_ = ['./rpn_r18-w16_fpn_demo_shapes.py', './_base_/models/focal.py']
model = _base_.focal
