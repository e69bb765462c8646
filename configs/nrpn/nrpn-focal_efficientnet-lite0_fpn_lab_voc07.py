# Ours: focal loss on all anchors, where negatives weigh more the harder their nRPN finds them.
_base_ = ['./rpn-focal_efficientnet-lite0_fpn_lab_voc07.py']
model = _base_.nrpn_focal
