# A first look at real images on a CPU: 200 steps at 256 pixels, with the pretrained backbone frozen.
_base_ = [
    './_base_/models/rpn_r50-caffe_fpn.py',
    './_base_/datasets/voc07.py',
    './_base_/schedules/schedule_short.py',
]
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
model = dict(backbone=dict(frozen_stages=4))

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (256, 256)
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
