# Focal loss, and every positive ranked above the hardest negatives, without an nRPN.
_base_ = ['./rpn-focal.py']
method = dict(
    rpn_head=dict(type='HardNegativeRPNHead', nrpn_head=None, loss_rank=dict(type='HardNegativeRankLoss')),
)
