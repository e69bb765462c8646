_base_ = ['./rpn_r50_fpn_1x_coco.py']
model = dict(
    rpn_head=dict(type='HardNegativeRPNHead'),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler', hard_fraction=0.5, warmup=0.5))),
)
