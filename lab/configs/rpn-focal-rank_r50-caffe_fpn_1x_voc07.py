_base_ = [
    '../../configs/nrpn/rpn_r50-caffe_fpn_1x_voc07.py',
    '../../configs/nrpn/_base_/methods/rpn-focal-rank.py',
]
model = _base_.method
