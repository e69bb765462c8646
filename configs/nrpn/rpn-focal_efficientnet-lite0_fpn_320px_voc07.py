# The peer of RetinaNet: all anchors, focal loss.
_base_ = ['./rpn_efficientnet-lite0_fpn_320px_voc07.py', './_base_/models/focal.py']
model = _base_.focal
