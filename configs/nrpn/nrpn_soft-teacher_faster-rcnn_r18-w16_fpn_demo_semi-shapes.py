# The RPN ignores what the teacher is unsure of.
_base_ = ['./soft-teacher_faster-rcnn_r18-w16_fpn_demo_semi-shapes.py', './_base_/methods/nrpn.py']
model = dict(type='IgnoringSoftTeacher', detector=_base_.method)
