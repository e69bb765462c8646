# For an RPN alone: nrpn.py on focal loss.
_base_ = ['./rpn-focal.py']
method = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=dict(type='NRPNHead', max_num=300, iou_thr=0.3),
        loss_rank=dict(type='HardNegativeRankLoss', loss_weight=0.01, num_negatives=256, prior_weight=2.0),
        hardness='nrpn',
    ),
)
