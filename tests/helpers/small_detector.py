"""MMDetection's own detectors, small enough for a test."""

from mmdet.testing import demo_mm_inputs
from mmengine.config import Config


def smaller(cfg, **rpn_head):
    """A model's config with a small backbone, and settings of its RPN."""
    cfg.backbone.update(depth=18, base_channels=8, init_cfg=None)
    cfg.neck.in_channels = [8, 16, 32, 64]
    heads = cfg.get('roi_head', {}).get('bbox_head', [])
    for head in heads if isinstance(heads, list) else [heads]:
        head.fc_out_channels = 64
    if 'rpn_proposal' in cfg.train_cfg:
        cfg.train_cfg.rpn_proposal.max_per_img = 100
    cfg = Config(dict(model=cfg))
    cfg.merge_from_dict({'model.rpn_head': rpn_head})
    if 'loss_cls' in rpn_head:
        cfg.model.train_cfg.rpn.sampler = dict(type='PseudoSampler')
    elif 'loss_rank' in rpn_head:
        cfg.model.train_cfg.rpn.sampler.type = 'NRPNSampler'
    return cfg.model


def inputs(model, with_mask=False):
    """Two images of different sizes; the second has no objects."""
    batch = demo_mm_inputs(2, [[3, 96, 128], [3, 80, 96]], num_items=[3, 0], with_mask=with_mask)
    return model.data_preprocessor(batch, True)
