# ResNet-18 with MMPretrain's ImageNet weights, FPN of 64 channels from stride 8 on: real images on a CPU.
_base_ = ['mmdet::_base_/models/rpn_r50_fpn.py']
model = dict(
    backbone=dict(depth=18, out_indices=(1, 2, 3), init_cfg=dict(type='Pretrained', checkpoint='mmcls://resnet18')),
    neck=dict(in_channels=[128, 256, 512], out_channels=64, num_outs=4),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4], strides=[8, 16, 32, 64])),
    # with anchors of one scale per level, 0.7 leaves many objects with one positive
    train_cfg=dict(rpn=dict(assigner=dict(pos_iou_thr=0.5))),
)
