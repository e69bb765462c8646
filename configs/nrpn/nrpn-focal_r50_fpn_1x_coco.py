# Ours: focal loss on all anchors, where negatives weigh more the harder their nRPN finds them.
_base_ = ['./rpn-focal_r50_fpn_1x_coco.py']
model = _base_.nrpn_focal
