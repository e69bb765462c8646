_base_ = ['./faster-rcnn_efficientnet-lite0_fpn_320px_voc07.py', '../../configs/nrpn/_base_/methods/nrpn-focal.py']
model = _base_.method
