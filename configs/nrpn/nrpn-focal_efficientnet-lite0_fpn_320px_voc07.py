# Ours: focal loss on all anchors, where negatives weigh more the harder their nRPN finds them.
_base_ = ['./rpn-focal_efficientnet-lite0_fpn_320px_voc07.py']
model = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        hardness_weight=4.0,
        nrpn_head=dict(
            type='NRPNHead',
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
            init_cfg=dict(type='Normal', layer='Conv2d', std=0.01),
        ),
    ),
)
