_base_ = ['../../configs/nrpn/faster-rcnn_r50-caffe_fpn_1x_voc07.py']
model = dict(roi_head=dict(type='ObjectnessRoIHead'))
