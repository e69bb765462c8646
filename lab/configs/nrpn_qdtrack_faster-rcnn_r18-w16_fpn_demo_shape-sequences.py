_base_ = ['./qdtrack_faster-rcnn_r18-w16_fpn_demo_shape-sequences.py', '../../configs/nrpn/_base_/methods/nrpn.py']
model = dict(detector=_base_.method)
