_base_ = ['./nrpn_efficientnet-lite0_fpn_lab_voc07.py']
model = dict(rpn_head=dict(loss_cls=dict(_delete_=True, type='OverlapLoss', use_sigmoid=True)))
