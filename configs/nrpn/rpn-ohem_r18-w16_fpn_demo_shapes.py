_base_ = ['./nrpn_r18-w16_fpn_demo_shapes.py']
model = dict(rpn_head=dict(hardness='rpn'))
