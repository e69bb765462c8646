_base_ = ['./rpn_efficientnet-lite0_fpn_lab_voc07.py']
model = dict(
    rpn_head=dict(type='HardNegativeRPNHead'),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler', hard_fraction=0.5, warmup=0.5))),
)
