# nrpn-rank in a detector that AdamW trains. AdamW does not care how loud losses are, but for which of those that train
# the same features: beside a second stage's, the weights of nrpn-rank.py are too quiet (docs/detectors.md).
_base_ = ['./nrpn-rank.py']
method = dict(
    rpn_head=dict(
        loss_cls=dict(loss_weight=1.0),
        loss_bbox=dict(loss_weight=1.0),
        loss_rank=dict(loss_weight=0.1),
    ),
)
