# The peer of RetinaNet: all anchors, focal loss.
_base_ = ['./rpn_r50_fpn_1x_coco.py', './_base_/models/focal.py']
model = _base_.focal
