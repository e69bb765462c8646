# Overlap Loss (poster, section "Overlap Loss") on randomly sampled anchors.
method = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=None,
        loss_rank=None,
        hardness='nrpn',
        loss_cls=dict(_delete_=True, type='OverlapLoss', use_sigmoid=True, loss_weight=1.0),
    ),
)
