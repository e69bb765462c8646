_base_ = ['./nrpn_r18-w16_fpn_demo_shapes.py']
model = dict(rpn_head=dict(loss_cls=dict(_delete_=True, type='OverlapLoss', use_sigmoid=True)))
