import collections
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import RandomSampler
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmdet_nrpn import NRPNSampler


def sample(sampler, gt_inds, hardness=None, overlaps='none'):
    gt_inds = torch.as_tensor(gt_inds)
    num, num_gts = len(gt_inds), max(int(gt_inds.max()), 0) if len(gt_inds) else 0
    overlaps = torch.zeros(num) if isinstance(overlaps, str) else overlaps
    assigned = AssignResult(num_gts, gt_inds, overlaps, torch.zeros(num, dtype=torch.long))
    gts = InstanceData(bboxes=torch.zeros(num_gts, 4), labels=torch.zeros(num_gts, dtype=torch.long))
    return sampler.sample(assigned, InstanceData(priors=torch.zeros(num, 4)), gts, hardness=hardness)


def check_contract(result, sampler, gt_inds, hardness):
    """The sampler's contract, read with sets and sorted lists."""
    negatives = {i for i, gt in enumerate(gt_inds) if gt == 0}
    expected = sampler.num - len(result.pos_inds)
    if sampler.neg_pos_ub >= 0:
        expected = min(expected, int(sampler.neg_pos_ub * max(len(result.pos_inds), 1)))
    drawn = result.neg_inds.tolist()
    assert len(set(drawn)) == len(drawn) == min(expected, len(negatives))
    assert set(drawn) <= negatives

    hard, rest = set(result.hard_neg_inds.tolist()), set(result.random_neg_inds.tolist())
    assert hard | rest == set(drawn) and not hard & rest
    allowed = [i for i in negatives if hardness[i] > -np.inf]  # False for NaN, too
    num_hard = int(sampler.hard_fraction * expected)
    assert len(hard) == min(num_hard, len(allowed))
    assert hard <= set(allowed)
    pool = sorted((hardness[i] for i in allowed), reverse=True)[: sampler.pool_factor * num_hard]
    assert all(hardness[i] >= pool[-1] for i in hard)


@settings(deadline=None, max_examples=300)
@given(
    seed=st.integers(0, 10**6),
    num_anchors=st.integers(0, 300),
    num=st.integers(0, 80),
    hard_fraction=st.floats(0, 1),
    pool_factor=st.integers(1, 5),
    neg_pos_ub=st.sampled_from([-1, 1, 3]),
    levels=st.sampled_from([1, 3, 10**6]),
)
def test_keeps_its_contract(seed, num_anchors, num, hard_fraction, pool_factor, neg_pos_ub, levels):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    gt_inds = rng.choice([-1, 0, 1, 2], num_anchors, p=[0.1, 0.7, 0.1, 0.1])
    hardness = rng.integers(0, levels, num_anchors).astype(np.float32)  # few levels: many ties
    hardness[rng.random(num_anchors) < 0.2] = rng.choice([-np.inf, np.nan, np.inf])
    sampler = NRPNSampler(num, 0.5, hard_fraction=hard_fraction, pool_factor=pool_factor, neg_pos_ub=neg_pos_ub)
    result = sample(sampler, gt_inds, torch.tensor(hardness))
    check_contract(result, sampler, gt_inds, hardness)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_planted_hardest_are_drawn(dtype):
    hardness = torch.zeros(5000, dtype=dtype)
    planted = torch.arange(100, 5000, 100)[:32]
    hardness[planted] = torch.arange(1, 33, dtype=dtype)
    result = sample(NRPNSampler(64, 0.5, hard_fraction=0.5, pool_factor=1), torch.zeros(5000).long(), hardness)
    assert result.hard_neg_inds.sort().values.tolist() == planted.tolist()


def test_an_assigner_without_overlaps_will_do():
    zeros, hardness = torch.zeros(50).long(), torch.arange(50.0)
    assert len(sample(NRPNSampler(8, 0.5), zeros, hardness, overlaps=None).neg_inds) == 8


def test_hard_draws_are_spread_over_the_pool():
    torch.manual_seed(0)
    sampler = NRPNSampler(16, 0.5, hard_fraction=0.5, pool_factor=4)  # 8 of the 32 hardest
    hardness, counts = torch.arange(200.0), torch.zeros(200)
    for _ in range(2000):
        counts[sample(sampler, torch.zeros(200).long(), hardness).hard_neg_inds] += 1
    assert counts[:-32].sum() == 0
    # each of the 32 is drawn with p = 1/4: 500 +- 19.4 (binomial); 5 standard deviations
    assert (counts[-32:] - 500).abs().max() < 97


@pytest.mark.parametrize('num', [3, 5])
def test_every_choice_out_of_a_pool_with_ties_is_equally_likely(num):
    """Of hardness 2, 1, 1, 1, 1 the pool of 2 or 4 holds the first and any of the others; each subset has its share."""
    torch.manual_seed(0)
    hardness, pool = torch.tensor([2.0, 1, 1, 1, 1, -torch.inf]), num - 1
    sampler, counts = NRPNSampler(num, 0.5, pool_factor=2), collections.Counter()
    for _ in range(4000):
        counts[tuple(sorted(sampler.sample_hard(hardness, pool // 2).tolist()))] += 1
    expected = collections.Counter()  # by listing all pools and all choices out of each
    pools = list(itertools.combinations(range(1, 5), pool - 1))
    for rest in pools:
        choices = list(itertools.combinations((0, *rest), pool // 2))
        for choice in choices:
            expected[choice] += 4000 / len(pools) / len(choices)
    assert counts.keys() == expected.keys()
    for choice, mean in expected.items():
        assert abs(counts[choice] - mean) < 5 * mean**0.5


def test_equal_hardness_favours_no_place():
    torch.manual_seed(0)
    sampler, counts = NRPNSampler(16, 0.5, hard_fraction=1.0, pool_factor=1), torch.zeros(64)
    for _ in range(2000):
        counts[sample(sampler, torch.zeros(64).long(), torch.zeros(64)).hard_neg_inds] += 1
    assert (counts - 500).abs().max() < 97


def test_the_random_part_is_uniform_over_all_other_negatives():
    torch.manual_seed(0)
    sampler = NRPNSampler(20, 0.5, hard_fraction=0.5, pool_factor=1)
    hardness, counts = torch.arange(60.0), torch.zeros(60)
    for _ in range(2000):
        counts[sample(sampler, torch.zeros(60).long(), hardness).random_neg_inds] += 1
    assert counts[-10:].sum() == 0  # drawn as hard
    # 10 of 50 others: 400 +- 17.9
    assert (counts[:-10] - 400).abs().max() < 90


def test_without_hardness_it_is_the_stock_sampler():
    gt_inds = torch.randint(-1, 3, (500,), generator=torch.Generator().manual_seed(0))
    ours, stock = NRPNSampler(64, 0.5), RandomSampler(64, 0.5, add_gt_as_proposals=False)
    results = []
    for sampler in (ours, stock):
        torch.manual_seed(3)
        gts = InstanceData(bboxes=torch.zeros(2, 4), labels=torch.zeros(2).long())
        assigned = AssignResult(2, gt_inds, torch.zeros(500), torch.zeros(500).long())
        results.append(sampler.sample(assigned, InstanceData(priors=torch.zeros(500, 4)), gts))
    assert (results[0].neg_inds == results[1].neg_inds).all() and (results[0].pos_inds == results[1].pos_inds).all()
    assert not hasattr(results[0], 'hard_neg_inds')


def test_permuting_the_anchors_permutes_the_hard_draws():
    rng = torch.Generator().manual_seed(0)
    hardness, perm = torch.rand(300, generator=rng), torch.randperm(300, generator=rng)
    sampler, zeros = NRPNSampler(32, 0.5, hard_fraction=0.5, pool_factor=1), torch.zeros(300).long()
    plain = set(sample(sampler, zeros, hardness).hard_neg_inds.tolist())
    permuted = sample(sampler, zeros, hardness[perm]).hard_neg_inds
    assert {int(perm[i]) for i in permuted} == plain


class Drawing(BaseModel):
    """A model whose step samples once, and keeps how many negatives were hard, of 100."""

    def __init__(self, warmup):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.sampler, self.shares = NRPNSampler(100, 0.5, hard_fraction=0.8, warmup=warmup), []

    def forward(self, inputs, data_samples=None, mode='loss'):
        self.shares.append(len(sample(self.sampler, torch.zeros(500).long(), torch.rand(500)).hard_neg_inds))
        return dict(loss=self.weight)


@pytest.fixture
def make_runner(tmp_path):
    def make(name, model, max_iters=8, **train_cfg):
        data = dict(dataset=[dict(inputs=0)] * 2, sampler=dict(type='DefaultSampler'), batch_size=1)
        optimizer = dict(optimizer=dict(type='SGD', lr=0.1))
        train_cfg = train_cfg or dict(by_epoch=False, max_iters=max_iters)
        return Runner(
            model, str(tmp_path), data, train_cfg=train_cfg, optim_wrapper=optimizer, experiment_name=name,
            default_scope=None, log_level='ERROR',
        )  # fmt: skip

    return make


GROWS = [0, 20, 40, 60, 80, 80, 80, 80]  # over the first half of 8 steps


def test_the_hard_share_grows_over_the_warmup(make_runner):
    model = Drawing(0.5)
    make_runner('iterations', model).train()
    assert model.shares == GROWS
    model = Drawing(0.5)
    make_runner('epochs', model, by_epoch=True, max_epochs=4).train()
    assert model.shares == GROWS
    model(None)
    assert model.shares[-1] == 80  # outside of a training


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_each_of_two_runners_has_its_own_warmup(make_runner, order):
    """MMEngine's current message hub is that of the runner created last."""
    models = Drawing(0.5), Drawing(0.5)
    runners = [make_runner(f'runner {i} of {order}', model) for i, model in enumerate(models)]
    for i in order:
        runners[i].train()
    assert [model.shares for model in models] == [GROWS, GROWS]


def test_a_runner_that_trains_within_anothers_step_has_its_own_warmup(make_runner):
    inner, outer = Drawing(0.5), Drawing(0.5)
    runners = make_runner('outer', outer), make_runner('inner', inner)
    draw = outer.forward
    outer.forward = lambda *args, **kwargs: (outer.shares or runners[1].train(), draw(*args, **kwargs))[1]
    runners[0].train()
    assert [inner.shares, outer.shares] == [GROWS, GROWS]


@pytest.mark.parametrize(
    'kwargs, words',
    [
        (dict(num=-1), 'num=-1'),
        (dict(num='256'), "num='256'"),
        (dict(num=32.5), 'num=32.5'),
        (dict(pos_fraction=1.5), 'pos_fraction=1.5'),
        (dict(pos_fraction=-0.5), 'pos_fraction=-0.5'),
        (dict(neg_pos_ub=-7), 'neg_pos_ub=-7'),
        (dict(neg_pos_ub='3'), "neg_pos_ub='3'"),
        (dict(hard_fraction=1.5), 'hard_fraction=1.5'),
        (dict(hard_fraction=-0.1), 'hard_fraction=-0.1'),
        (dict(pool_factor=0), 'pool_factor=0'),
        (dict(pool_factor=1.5), 'pool_factor=1.5'),
        (dict(pool_factor=float('inf')), 'pool_factor=inf'),
        (dict(hard_fraction=None), 'hard_fraction=None'),
        (dict(warmup=2), 'warmup=2'),
        (dict(add_gt_as_proposals=True), 'add_gt_as_proposals=False'),
    ],
)
def test_bad_settings_say_what_to_write(kwargs, words):
    with pytest.raises(ValueError, match=words):
        NRPNSampler(**{'num': 256, 'pos_fraction': 0.5, **kwargs})
