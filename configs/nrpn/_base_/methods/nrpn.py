# The default: the RPN keeps its own losses and samples, and every positive is ranked above the hardest negatives,
# weighted by the nRPN. For an RPN alone nrpn-focal.py is better; in a detector focal loss cost mAP (docs/guide.md).
method = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=dict(type='NRPNHead', max_num=300, iou_thr=0.3),
        loss_rank=dict(type='HardNegativeRankLoss', loss_weight=0.01, num_negatives=256, prior_weight=2.0),
        hardness='nrpn',
    ),
)
