"""Batches that break detectors, by seed; also for processes that are no tests."""

import copy

import numpy as np
import small_head
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

SIZES = ((32, 32), (64, 64), (32, 256), (256, 32), (4, 4), (8, 64))
OBJECTS = ('none', 'some', 'thousands', 'flat', 'outside', 'everywhere', 'tiny')
NUM = dict(none=0, some=3, thousands=1000, flat=4, outside=5, everywhere=1, tiny=6)

HEAD = dict(copy.deepcopy(small_head.HEAD), type='HardNegativeRPNHead', loss_rank=None)
HEAD['train_cfg']['sampler']['type'] = 'NRPNSampler'
STRIDES, CHANNELS = HEAD['anchor_generator']['strides'], HEAD['in_channels']

# how a head may be set up; each is met by every kind of batch
FOCAL = {
    'loss_cls': dict(type='FocalLoss', use_sigmoid=True, loss_weight=1.0),
    'train_cfg.sampler': dict(type='PseudoSampler'),
}
# 25 times the default's weight: a fault in the ranking would show
RANK = {'loss_rank': dict(type='HardNegativeRankLoss', loss_weight=0.25, num_negatives=256, prior_weight=1.0)}
VARIANTS = dict(
    default={},
    rank={**FOCAL, **RANK},
    rank_without_nrpn={**FOCAL, **RANK, 'nrpn_head': None},
    rank_on_samples={**RANK, 'hardness': 'rpn'},
    rank_beside_stock={**RANK, 'train_cfg.sampler': small_head.HEAD['train_cfg']['sampler']},
    paper={'nrpn_head': dict(type='PaperNRPNHead')},
    one_candidate={'nrpn_head': dict(type='NRPNHead', max_num=1), **RANK},
    many_asked={'train_cfg.sampler.num': 100_000, 'train_cfg.sampler.hard_fraction': 1.0},
    overlap={'loss_cls': dict(type='OverlapLoss', use_sigmoid=True), 'train_cfg.sampler.neg_pos_ub': 3},
    one_anchor={
        'anchor_generator': dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=STRIDES),
        'train_cfg.sampler.pool_factor': 1,
    },
    inside={'train_cfg.allowed_border': 0, **RANK},
    own_objectness={'hardness': 'rpn'},
)


def head_cfg(variant):
    cfg = ConfigDict(copy.deepcopy(HEAD))
    for key, value in VARIANTS[variant].items():
        *path, last = key.split('.')
        node = cfg
        for name in path:
            node = node[name]
        node[last] = copy.deepcopy(value)
    return cfg


def build_head(variant='default', seed=0):
    torch.manual_seed(seed)
    head = MODELS.build(head_cfg(variant))
    head.init_weights()
    return head


def _boxes(kind, height, width, rng):
    num = NUM[kind]
    xy, wh = rng.uniform(0, 1, (num, 2)) * (width, height), rng.uniform(0.05, 0.6, (num, 2)) * (width, height)
    if kind == 'flat':
        wh[:, rng.integers(2)] = 0
    elif kind == 'outside':
        xy += (2 * width, 2 * height)
    elif kind == 'everywhere':
        xy, wh = np.zeros((1, 2)), np.array([[width, height]])
    elif kind == 'tiny':
        wh = np.full((num, 2), 1e-3)
    boxes = torch.from_numpy(np.concatenate([xy, xy + wh], axis=1).astype(np.float32))
    return InstanceData(bboxes=boxes, labels=torch.zeros(num, dtype=torch.long))


def batch(seed):
    """Features and samples of one to three images, padded to one size, each with invalid anchors in its padding.

    Returns:
        tuple: Features of each level, the samples, and the kinds of objects and ignored objects in them.
    """
    rng = np.random.default_rng(seed)
    height, width = SIZES[rng.integers(len(SIZES))]
    samples, kinds = [], []
    for _ in range(rng.integers(1, 4)):
        # the image's own size; what is left of the batch's is padding
        h, w = (max(4, int(side * rng.choice([0.5, 0.75, 1.0]))) for side in (height, width))
        kind, ignored = rng.choice(OBJECTS), rng.choice(OBJECTS) if rng.random() < 0.4 else 'none'
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(h, w), pad_shape=(h, w), batch_input_shape=(height, width), ori_shape=(h, w),
                scale_factor=(1.0, 1.0),
            )
        )  # fmt: skip
        sample.gt_instances = _boxes(kind, h, w, rng)
        sample.ignored_instances = _boxes(ignored, h, w, rng)
        samples.append(sample)
        kinds.append((str(kind), str(ignored)))
    scale = float(rng.choice([0.0, 1.0, 30.0]))  # 0: every anchor is as hard as any other
    noise = torch.Generator().manual_seed(int(seed))
    features = tuple(
        scale * torch.randn(len(samples), CHANNELS, -(-height // s), -(-width // s), generator=noise) for s in STRIDES
    )
    return features, samples, kinds
