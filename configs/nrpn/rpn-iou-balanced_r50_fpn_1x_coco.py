# The peer of Libra R-CNN: negatives balanced over their IoU with objects.
_base_ = ['./rpn_r50_fpn_1x_coco.py']
model = dict(
    train_cfg=dict(rpn=dict(sampler=dict(type='IoUBalancedNegSampler', floor_thr=-1, floor_fraction=0, num_bins=3)))
)
