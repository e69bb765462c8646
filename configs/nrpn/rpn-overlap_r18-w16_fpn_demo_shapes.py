_base_ = ['./rpn_r18-w16_fpn_demo_shapes.py']
model = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=None,
        loss_cls=dict(_delete_=True, type='OverlapLoss', use_sigmoid=True),
    )
)
