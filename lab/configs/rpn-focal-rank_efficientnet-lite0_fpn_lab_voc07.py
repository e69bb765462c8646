_base_ = ['./rpn_efficientnet-lite0_fpn_lab_voc07.py', '../../configs/nrpn/_base_/methods/rpn-focal-rank.py']
model = _base_.method
