# The paper's nRPN: a second RPN, whose objectness says which negatives are sampled as hard.
method = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=dict(type='PaperNRPNHead'),
        loss_rank=None,
        hardness='nrpn',
    ),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler', hard_fraction=0.5, pool_factor=4, warmup=0.5))),
)
