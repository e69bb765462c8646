# The paper's full method: nRPN and Overlap Loss.
_base_ = ['./paper-nrpn.py']
method = dict(rpn_head=dict(loss_cls=dict(_delete_=True, type='OverlapLoss', use_sigmoid=True, loss_weight=1.0)))
