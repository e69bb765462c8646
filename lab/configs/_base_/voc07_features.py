# Features that lab/scripts/store_features.py kept of VOC 2007. Their folder: $FEATURES or data/lab/voc07/.
root = '{{$FEATURES:data/lab/voc07/}}'
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='FeatureDataset', folders=[root + 'train', root + 'train-flipped']),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='FeatureDataset', folders=[root + 'val']),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='ProposalMetric')
test_evaluator = val_evaluator
