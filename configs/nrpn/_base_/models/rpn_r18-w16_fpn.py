# A small RPN that learns from nothing in minutes on a CPU: ResNet-18 a quarter as wide, FPN of 64 channels.
_base_ = ['mmdet::_base_/models/rpn_r50_fpn.py']
model = dict(
    backbone=dict(depth=18, base_channels=16, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
)
