# Annotations with ignored regions: $SHAPES_ROOT/regions.json, of lab/scripts/ignore_false_positives.py.
_base_ = ['../../configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py']
data = dict(type='CocoDataset', data_root=_base_.data_root, ann_file='regions.json', data_prefix=dict(img=''))
train_dataloader = dict(dataset=dict(_delete_=True, **data, metainfo=_base_.metainfo, pipeline=_base_.train_pipeline))
# an anchor that lies on an ignored region by half is no negative
model = dict(train_cfg=dict(rpn=dict(assigner=dict(ignore_iof_thr=0.5))))
