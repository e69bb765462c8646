import pytest
import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmengine.structures import InstanceData

from mmdet_nrpn import NRPNHead
from mmdet_nrpn.utils import mine_candidates

BOXES = torch.tensor([[x, 0.0, x + 32, 32] for x in (0, 32, 64, 96)])
META = [dict(img_shape=(32, 128))]


def mine(logits, gts=(), ignored=(), valid=True, **kwargs):
    """Candidates of an image of 128x32 with four anchors, 32 px each, side by side, that are their own boxes."""
    gts, ignored = (InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4)) for boxes in (gts, ignored))
    valid = torch.as_tensor(valid).expand(1, 4)
    return mine_candidates(
        torch.tensor([logits]), torch.zeros(1, 4, 4), BOXES, valid, DeltaXYWHBBoxCoder(), [gts], META, [ignored],
        **kwargs,
    )  # fmt: skip


def head_with(n):
    """An nRPN whose logits of the four anchors are as given, and the hidden features for it."""
    head = NRPNHead(feat_channels=4, num_base_priors=1)
    head.init_weights()
    head.nrpn_cls.weight.data[:] = torch.tensor(n).view(1, 4, 1, 1)
    return head, (torch.eye(4).view(1, 4, 1, 4).requires_grad_(),)


def binary_cross_entropy(logit, label):
    return -(torch.tensor(logit).sigmoid() if label else 1 - torch.tensor(logit).sigmoid()).log()


def test_the_loss_is_the_residual_of_the_docstring():
    # image: [ 0: an object, found ][ 1: a false positive ][ 2: on an ignored object ][ 3: not among the candidates ]
    head, hidden = head_with([0.5, -1.0, 2.0, 3.0])
    mined = mine([2.0, 1.5, 1.0, -1.0], [[0.0, 0, 32, 32]], [[64.0, 0, 96, 32]], max_num=3)
    losses, hardness = head.loss_and_hardness((), hidden, mined, META)
    expected = (binary_cross_entropy(2.0 - 0.5, True) + binary_cross_entropy(1.5 + 1.0, False)) / 2
    torch.testing.assert_close(sum(losses['loss_nrpn_cls']), expected)
    torch.testing.assert_close(hardness, torch.tensor([[0.5, -1.0, 2.0, 3.0]]))
    sum(losses['loss_nrpn_cls']).backward()
    assert hidden[0].grad is None and not hardness.requires_grad
    # the gradient says: less n where there is an object, more where there is none
    assert head.nrpn_cls.weight.grad[0, 0] > 0 > head.nrpn_cls.weight.grad[0, 1]
    assert (head.nrpn_cls.weight.grad[0, 2:] == 0).all()


def test_it_starts_at_zero():
    head = NRPNHead(feat_channels=4, num_base_priors=3)
    head.init_weights()
    assert all((p == 0).all() for p in head.parameters())
    assert set(dict(head.named_parameters())) == {'nrpn_cls.weight', 'nrpn_cls.bias'}


@pytest.mark.parametrize('valid, ignored', [(False, ()), (True, [[0.0, 0, 128, 32]])])
def test_without_candidates_the_loss_is_zero_and_keeps_its_graph(valid, ignored):
    head, hidden = head_with([0.5, -1.0, 2.0, 3.0])
    losses, _ = head.loss_and_hardness((), hidden, mine([2.0, 1.5, 1.0, -1.0], (), ignored, valid), META)
    sum(losses['loss_nrpn_cls']).backward()
    assert sum(losses['loss_nrpn_cls']) == 0 and (head.nrpn_cls.weight.grad == 0).all()


def test_without_a_false_positive_it_learns_from_the_true_ones():
    head, hidden = head_with([0.5, -1.0, 2.0, 3.0])
    losses, _ = head.loss_and_hardness((), hidden, mine([2.0, 1.5, 1.0, -1.0], [[0.0, 0, 128, 32]], iou_thr=0.2), META)
    sum(losses['loss_nrpn_cls']).backward()
    assert sum(losses['loss_nrpn_cls']) > 0 and (head.nrpn_cls.weight.grad > 0).all()


def area_under_curve(scores, is_positive):
    """The share of pairs in the right order."""
    pairs = scores[is_positive][:, None] > scores[~is_positive][None]
    return pairs.float().mean().item()


def train(loss_factor):
    """An nRPN beside an RPN that scores planted false positives like objects, on fixed features."""
    rng = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 16, 20, 20, generator=rng)
    anchors = torch.stack(torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing='xy'), -1).view(-1, 2) * 8
    anchors = torch.cat([anchors, anchors + 8], dim=1)
    is_false = torch.rand(400, generator=rng) < 0.5
    hidden.view(16, -1)[0] += 2.0 * is_false  # what a false positive looks like
    gts = InstanceData(bboxes=anchors[~is_false])
    head = NRPNHead(feat_channels=16, num_base_priors=1)
    head.init_weights()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    logits = torch.randn(1, 400, generator=rng)
    mined = mine_candidates(
        logits, torch.zeros(1, 400, 4), anchors, torch.ones(1, 400, dtype=torch.bool), DeltaXYWHBBoxCoder(), [gts],
        [dict(img_shape=(160, 160))],
    )  # fmt: skip
    for _ in range(60):
        losses, hardness = head.loss_and_hardness((), (hidden,), mined, META)
        optimizer.zero_grad()
        (loss_factor * sum(losses['loss_nrpn_cls'])).backward()
        optimizer.step()
    n = hardness[0, mined.inds[0]]
    return area_under_curve(n, mined.is_false[0])


def test_it_learns_to_tell_false_positives_from_objects():
    assert train(loss_factor=1.0) > 0.9


def test_without_its_loss_it_does_not():
    assert train(loss_factor=0.0) <= 0.5


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(max_num=0), 'max_num=0'),
        (dict(max_num=1.5), 'max_num=1.5'),
        (dict(max_num=float('inf')), 'max_num=inf'),
        (dict(max_num=None), 'max_num=None'),
        (dict(iou_thr='0.3'), "iou_thr='0.3'"),
        (dict(iou_thr=-0.1), 'iou_thr=-0.1'),
        (dict(iou_thr=0), r'number in \(0, 1\], got rpn_head.nrpn_head.iou_thr=0'),
        (dict(iou_thr=2), 'iou_thr=2'),
    ],
)
def test_bad_settings_name_the_config_key(kwargs, words):
    with pytest.raises(ValueError, match=f'rpn_head.nrpn_head.*{words}'):
        NRPNHead(feat_channels=4, num_base_priors=1, **kwargs)
