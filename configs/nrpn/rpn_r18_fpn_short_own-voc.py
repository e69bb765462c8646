# An RPN alone on your own data in VOC's format, ten minutes on a CPU: copy this file beside it, change the next lines.
data_root = 'data/mine/'
train_list, val_list = 'ImageSets/Main/train.txt', 'ImageSets/Main/val.txt'
classes = ('cat', 'dog')

_base_ = ['./_base_/models/rpn_r18_fpn.py', './_base_/datasets/shapes.py', './_base_/schedules/schedule_short.py']
custom_imports = dict(imports=['mmdet_nrpn'], allow_failed_imports=False)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline.insert(2, dict(type='Resize', scale=(320, 320), keep_ratio=True))
test_pipeline[1].scale = (320, 320)
data = dict(data_root=data_root, metainfo=dict(_delete_=True, classes=classes))
train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        **data,
        ann_file=train_list,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = test_dataloader = dict(dataset=dict(**data, ann_file=val_list, pipeline=test_pipeline))
