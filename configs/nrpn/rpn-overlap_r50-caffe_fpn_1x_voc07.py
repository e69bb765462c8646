_base_ = ['./rpn_r50-caffe_fpn_1x_voc07.py']
model = dict(
    rpn_head=dict(
        type='HardNegativeRPNHead',
        nrpn_head=None,
        loss_cls=dict(_delete_=True, type='OverlapLoss', use_sigmoid=True),
    )
)
