# The peer of RetinaNet: all anchors, focal loss.
_base_ = ['./rpn_r50-caffe_fpn_1x_voc07.py', './_base_/models/focal.py']
model = _base_.focal
