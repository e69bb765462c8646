# nrpn-focal.py without its nRPN: focal loss, and every positive ranked above the hardest negatives. No nRPN, no prior.
_base_ = ['./rpn-focal.py']
method = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=None,
        loss_rank=dict(type='HardNegativeRankLoss', loss_weight=0.01, num_negatives=256, prior_weight=2.0),
        hardness='nrpn',
    ),
)
