_base_ = ['./rpn_r18-w16_fpn_demo_shapes.py']
model = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        loss_cls=dict(_delete_=True, type='OverlapLoss', use_sigmoid=True),
    ),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler', hard_fraction=0.5, warmup=0.5))),
)
