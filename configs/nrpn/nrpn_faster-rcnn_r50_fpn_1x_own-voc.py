# Your own data in VOC's format (JPEGImages, Annotations, ImageSets): copy this file beside it, change the next lines.
data_root = 'data/mine/'
train_list, val_list = 'ImageSets/Main/train.txt', 'ImageSets/Main/val.txt'
classes = ('cat', 'dog')
batch_size = 2

_base_ = ['./nrpn_faster-rcnn_r50_fpn_1x_coco.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=len(classes))))
data = dict(type='XMLDataset', data_root=data_root, data_prefix=dict(sub_data_root=''), metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        _delete_=True,
        **data,
        ann_file=train_list,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(_delete_=True, **data, ann_file=val_list, test_mode=True, pipeline=_base_.test_pipeline)
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='area')
test_evaluator = val_evaluator
# COCO's 0.02 is for 16 images per step
optim_wrapper = dict(optimizer=dict(lr=0.02 * batch_size / 16))
auto_scale_lr = dict(base_batch_size=batch_size)  # which --auto-scale-lr multiplies by the number of GPUs alone
load_from = None  # or the checkpoint of a Faster R-CNN, stock or with nRPN, to start from
