_base_ = ['mmdet::rpn/rpn_r50-caffe-c4_1x_coco.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        loss_cls=dict(_delete_=True, type='OverlapLoss', use_sigmoid=True),
    ),
    train_cfg=dict(rpn=dict(sampler=dict(type='NRPNSampler', hard_fraction=0.5, warmup=0.5))),
)
val_evaluator = dict(_delete_=True, type='ProposalMetric')
test_evaluator = val_evaluator
