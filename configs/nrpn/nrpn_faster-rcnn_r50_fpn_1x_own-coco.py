# Your own data in COCO's format: copy this file beside it and change the next five lines.
data_root = 'data/mine/'
train_json, train_images = 'annotations/train.json', 'train/'
val_json, val_images = 'annotations/val.json', 'val/'
classes = ('cat', 'dog')
batch_size = 2

_base_ = ['./nrpn_faster-rcnn_r50_fpn_1x_coco.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=len(classes))))
data = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(**data, ann_file=train_json, data_prefix=dict(img=train_images)),
)
val_dataloader = dict(dataset=dict(**data, ann_file=val_json, data_prefix=dict(img=val_images)))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + val_json)
test_evaluator = val_evaluator
# COCO's 0.02 is for 16 images per step
optim_wrapper = dict(optimizer=dict(lr=0.02 * batch_size / 16))
auto_scale_lr = dict(base_batch_size=batch_size)  # which --auto-scale-lr multiplies by the number of GPUs alone
load_from = None  # or the checkpoint of a Faster R-CNN, stock or with nRPN, to start from
