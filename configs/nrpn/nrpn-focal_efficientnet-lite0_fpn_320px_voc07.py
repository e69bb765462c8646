_base_ = ['./rpn_efficientnet-lite0_fpn_320px_voc07.py', './_base_/methods/nrpn-focal.py']
model = _base_.method
