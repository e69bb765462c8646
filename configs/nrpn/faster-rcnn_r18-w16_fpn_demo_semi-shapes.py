# The labelled images alone: where the teachers start from, and what they have to beat.
_base_ = [
    './_base_/models/faster-rcnn_r18-w16_fpn.py',
    './_base_/datasets/semi_shapes.py',
    './_base_/schedules/schedule_demo.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(_base_.labeled_set, _delete_=True, pipeline=[*_base_.labeled_pipeline, dict(type='PackDetInputs')]),
)
max_iters = 1500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
warmup, decay = _base_.param_scheduler
param_scheduler = [warmup, dict(decay, T_max=max_iters - warmup.end, end=max_iters)]
