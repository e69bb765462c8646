_base_ = ['./rpn_efficientnet-lite0_fpn_lab_voc07.py', '../../configs/nrpn/_base_/methods/paper-nrpn-overlap.py']
model = _base_.method
