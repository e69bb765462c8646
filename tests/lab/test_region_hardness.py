import pytest
import torch
from mmcv.ops import nms
from mmdet.registry import MODELS

from mmdet_nrpn.lab import RegionNRPNHead
from mmdet_nrpn.models import NRPNHead


@pytest.mark.parametrize('regress', [True, False])
def test_of_overlapping_regions_only_the_hardest_is_hard(regress):
    settings = dict(
        in_channels=4,
        feat_channels=4,
        regress=regress,
        anchor_generator=dict(type='AnchorGenerator', scales=[4, 4.4], ratios=[0.5, 1.0, 2.0], strides=[8, 16]),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3),
            sampler=dict(num=16, pos_fraction=0.5),
        ),
    )
    torch.manual_seed(0)
    head = MODELS.build(dict(type='RegionNRPNHead', **settings))
    assert isinstance(head, RegionNRPNHead)
    sizes = [(6, 5), (3, 3)]
    scores = [torch.randn(2, 6, *size) for size in sizes]
    deltas = [torch.randn(2, 24, *size) / 10 if regress else None for size in sizes]
    priors = torch.cat(head.prior_generator.grid_priors(sizes, device='cpu'))
    hardness = head.hardness(scores, deltas, priors)
    every = NRPNHead.hardness(head, scores, deltas, priors)

    for picture in range(2):
        bboxes = priors
        if regress:
            flat = torch.cat([level[picture].permute(1, 2, 0).reshape(-1, 4) for level in deltas])
            bboxes = head.bbox_coder.decode(priors, flat)
        expected = sorted(nms(bboxes, every[picture], 0.7)[1].tolist())
        kept = (hardness[picture] > -torch.inf).nonzero().squeeze(1).tolist()
        assert kept == expected
        assert 0 < len(kept) < len(priors)
        assert torch.equal(hardness[picture, kept], every[picture, kept])
