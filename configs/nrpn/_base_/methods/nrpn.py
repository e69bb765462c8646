# nrpn-focal in a detector: the RPN keeps its own losses and samples, and every positive is ranked above the hardest
# negatives, weighted by the nRPN. With focal loss, as in nrpn-focal.py, mAP fell (docs/detectors.md).
method = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=dict(type='NRPNHead'),
        loss_rank=dict(type='HardNegativeRankLoss', loss_weight=0.01, prior_weight=2.0),
    ),
)
