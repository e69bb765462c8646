# The recommended setting: focal loss, and every positive ranked above the hardest negatives, weighted by the nRPN.
_base_ = ['./rpn-focal.py']
method = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=dict(type='NRPNHead'),
        loss_rank=dict(type='HardNegativeRankLoss', loss_weight=0.01, prior_weight=2.0),
    ),
)
