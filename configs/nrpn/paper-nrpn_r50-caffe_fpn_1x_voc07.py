_base_ = ['./rpn_r50-caffe_fpn_1x_voc07.py', './_base_/methods/paper-nrpn.py']
model = _base_.method
