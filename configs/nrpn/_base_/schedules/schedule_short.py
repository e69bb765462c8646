# 200 steps with AdamW: a first look.
_base_ = ['./schedule_demo.py']
max_iters = 200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
# The backbone is pretrained, what stands on it is not.
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=max_iters - 20, eta_min=1e-5, by_epoch=False, begin=20, end=max_iters),
]
