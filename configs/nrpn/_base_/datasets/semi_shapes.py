# The embedded data set for semi-supervised detectors: the first training images with their objects, the others without.
_base_ = ['./shapes.py']
num_labeled, num_images = 150, 600
# smaller than they are drawn, for a step has to see many images
scale = [(128, 128), (192, 192)]
color = [[dict(type=name)] for name in ('ColorTransform', 'AutoContrast', 'Equalize', 'Brightness', 'Color')]
geometric = [[dict(type=name)] for name in ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')]
meta_keys = (
    'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'homography_matrix'
)  # fmt: skip

branches = ['sup', 'unsup_teacher', 'unsup_student']
moved = [dict(type='RandomResize', scale=scale, keep_ratio=True), dict(type='RandomFlip', prob=0.5)]
labeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    *moved,
    dict(type='RandAugment', aug_space=color, aug_num=1),
]
unlabeled_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadEmptyAnnotations'),
    dict(
        type='MultiBranch',
        branch_field=branches,
        unsup_teacher=[*moved, dict(type='PackDetInputs', meta_keys=meta_keys)],
        unsup_student=[
            *moved,
            dict(type='RandAugment', aug_space=color, aug_num=1),
            dict(type='RandAugment', aug_space=geometric, aug_num=1),
            dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
            dict(type='PackDetInputs', meta_keys=meta_keys),
        ],
    ),
]
train_set = _base_.train_dataloader.dataset
labeled_set = dict(train_set, indices=list(range(num_labeled)))
sup = dict(type='MultiBranch', branch_field=branches, sup=dict(type='PackDetInputs'))
train_dataloader = dict(
    sampler=dict(_delete_=True, type='GroupMultiSourceSampler', batch_size=8, source_ratio=[1, 1]),
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(labeled_set, pipeline=[*labeled_pipeline, sup]),
            dict(train_set, indices=list(range(num_labeled, num_images)), pipeline=unlabeled_pipeline),
        ],
    ),
)
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=(160, 160), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='area', iou_thrs=[0.5, 0.75])
test_evaluator = val_evaluator
