_base_ = [
    '../../configs/nrpn/rpn_efficientnet-lite0_fpn_320px_voc07.py',
    '../../configs/nrpn/_base_/methods/rpn-focal-rank.py',
]
model = _base_.method
