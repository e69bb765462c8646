"""Errors of proposals against a loop over boxes."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmdet_nrpn.evaluation import find_proposal_errors


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def boxes(rng, num, size=64):
    corners = rng.uniform(0, 0.7 * size, (num, 2))
    return torch.tensor(np.hstack([corners, corners + rng.uniform(4, 0.3 * size, (num, 2))]), dtype=torch.float32)


class PlantedHead:
    """A head whose proposals and regions are given."""

    def __init__(self, proposals, regions):
        self.proposals, self.regions = proposals, regions

    def predict_by_feat(self, cls_scores, bbox_preds, batch_img_metas, rescale):
        assert cls_scores[0].dtype == torch.float32
        return self.proposals

    def predict_nrpn_by_feat(self, nrpn_outs, outs, batch_img_metas, rescale):
        return self.regions


@pytest.mark.parametrize('seed', range(5))
def test_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    proposals, regions = (
        InstanceData(bboxes=boxes(rng, 150), scores=torch.tensor(rng.random(150)).sort(descending=True).values)
        for _ in range(2)
    )
    sample = DetDataSample(
        gt_instances=InstanceData(bboxes=boxes(rng, 6)), ignored_instances=InstanceData(bboxes=boxes(rng, 1))
    )
    outs = [torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16)], [torch.zeros(1, 12, 4, 4, dtype=torch.bfloat16)]
    (errors,) = find_proposal_errors(PlantedHead([proposals], [regions]), outs, outs, [sample])

    best = proposals.bboxes[:100].tolist()
    gts, (ignored,) = sample.gt_instances.bboxes.tolist(), sample.ignored_instances.bboxes.tolist()
    inside = [
        max(min(b[2], ignored[2]) - max(b[0], ignored[0]), 0)
        * max(min(b[3], ignored[3]) - max(b[1], ignored[1]), 0)
        / ((b[2] - b[0]) * (b[3] - b[1]))
        for b in best
    ]
    wrong = [i for i, b in enumerate(best) if max(iou(b, gt) for gt in gts) < 0.3 and inside[i] < 0.3]
    assert 10 < len(wrong) < 100
    finding = [[rank for rank, b in enumerate(best, start=1) if iou(gt, b) >= 0.5] for gt in gts]
    assert errors.gt_ranks.tolist() == [min(ranks, default=101) for ranks in finding]
    assert errors.false_positive_ranks.tolist() == [i + 1 for i in wrong]
    np.testing.assert_array_equal(errors.false_positives, proposals.bboxes[wrong].numpy())
    np.testing.assert_array_equal(errors.false_positive_scores, proposals.scores[wrong].numpy())
    np.testing.assert_array_equal(errors.regions, regions.bboxes[:100].numpy())
    near = [max(iou(best[i], region) for region in regions.bboxes[:100].tolist()) >= 0.5 for i in wrong]
    assert errors.predicted_by_nrpn.tolist() == near and True in near and False in near


@pytest.mark.parametrize('ignored', [None, InstanceData(), InstanceData(bboxes=np.zeros((0, 4), np.float32))])
def test_nothing_there(ignored):
    none = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0))
    sample = DetDataSample(gt_instances=InstanceData(bboxes=torch.zeros(0, 4)))
    if ignored is not None:
        sample.ignored_instances = ignored
    outs = [torch.zeros(1, 3, 4, 4)], [torch.zeros(1, 12, 4, 4)]
    (errors,) = find_proposal_errors(PlantedHead([none], None), outs, None, [sample])
    assert all(len(part) == 0 for part in errors)
    sample.gt_instances = InstanceData(bboxes=torch.ones(2, 4))
    (errors,) = find_proposal_errors(PlantedHead([none], None), outs, None, [sample])
    assert errors.gt_ranks.tolist() == [101, 101]


@pytest.mark.parametrize('rescale', [False, True])
def test_an_object_across_the_border_is_found_by_its_clipped_proposal(rescale):
    shape = dict(img_shape=(999, 999), ori_shape=(128, 128)) if rescale else dict(img_shape=(128, 128))
    sample = DetDataSample(
        metainfo=shape,
        gt_instances=InstanceData(bboxes=torch.tensor([[-46.0, 8, 18, 72]])),
        ignored_instances=InstanceData(bboxes=torch.zeros(0, 4)),
    )
    proposals = InstanceData(bboxes=torch.tensor([[0.0, 8, 18, 72]]), scores=torch.ones(1))
    outs = [torch.zeros(1, 3, 4, 4)], [torch.zeros(1, 12, 4, 4)]
    (errors,) = find_proposal_errors(PlantedHead([proposals], None), outs, None, [sample], rescale=rescale)
    assert errors.gt_ranks.tolist() == [1] and len(errors.false_positives) == 0
    assert errors.gt_bboxes.tolist() == [[-46, 8, 18, 72]]  # drawn where it was annotated
