# The paper's nRPN: a second RPN, whose objectness says which negatives are sampled as hard.
method = dict(
    rpn_head=dict(type='HardNegativeRPNHead', nrpn_head=dict(type='PaperNRPNHead')),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler'))),
)
