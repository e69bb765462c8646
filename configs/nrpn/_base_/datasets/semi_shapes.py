# The embedded data set for semi-supervised detectors: the first training images with their objects, the others without.
_base_ = ['./shapes.py']
num_labeled, num_images = 60, 600
scale = [(208, 208), (304, 304)]
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
    dict(type='MultiBranch', branch_field=branches, sup=dict(type='PackDetInputs')),
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
train_dataloader = dict(
    batch_size=6,
    sampler=dict(_delete_=True, type='GroupMultiSourceSampler', batch_size=6, source_ratio=[1, 2]),
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(train_set, indices=list(range(num_labeled)), pipeline=labeled_pipeline),
            dict(train_set, indices=list(range(num_labeled, num_images)), pipeline=unlabeled_pipeline),
        ],
    ),
)
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='area', iou_thrs=[0.5, 0.75])
test_evaluator = val_evaluator
