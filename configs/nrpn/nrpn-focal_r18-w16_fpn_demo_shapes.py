# Ours: focal loss on all anchors, where negatives weigh more the harder their nRPN finds them.
_base_ = ['./rpn-focal_r18-w16_fpn_demo_shapes.py']
model = _base_.nrpn_focal
