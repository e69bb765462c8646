# An RPN alone on your own data in COCO's format, ten minutes on a CPU: copy this file beside it, change the next lines.
data_root = 'data/mine/'
train_json, train_images = 'annotations/train.json', 'train/'
val_json, val_images = 'annotations/val.json', 'val/'
classes = ('cat', 'dog')

_base_ = ['./rpn_r18_fpn_short_own-voc.py']
data = dict(_delete_=True, type='CocoDataset', data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    dataset=dict(
        **data,
        ann_file=train_json,
        data_prefix=dict(img=train_images),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = test_dataloader = dict(
    dataset=dict(
        **data, ann_file=val_json, data_prefix=dict(img=val_images), test_mode=True, pipeline=_base_.test_pipeline
    )
)
