# 500 steps with AdamW for an FPN and an RPN on the features of a frozen, pretrained backbone.
_base_ = ['./schedule_demo.py']
optim_wrapper = dict(optimizer=dict(lr=1e-3))
