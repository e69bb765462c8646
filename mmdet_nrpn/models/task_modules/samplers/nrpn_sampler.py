import warnings
from typing import Optional

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import RandomSampler, SamplingResult
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor
from torch.profiler import record_function

from ....utils import check_number, running_loop


@TASK_UTILS.register_module()
class NRPNSampler(RandomSampler):
    """Samples part of the negatives from the hardest ones (nRPN, ICIP 2019; pool and warm-up are not in the paper).

    Of ``n`` negatives, ``int(hard_fraction * n)`` are a random choice among the ``pool_factor`` times as many hardest:
    the very hardest alone are near-duplicates of each other. The pool is that of MONAI's and nnDetection's
    ``HardNegativeSampler``. The other negatives are a random choice among all that are left. Positives are sampled as
    by ``RandomSampler``.

    Args:
        num (int): Number of samples per image, at least 0.
        pos_fraction (float): Share of positives among them, in [0, 1].
        hard_fraction (float): Share of the negatives that are sampled as hard, in [0, 1]. Defaults to 0.5.
        pool_factor (int): Size of the pool in multiples of the negatives sampled from it, at least 1. Defaults to 4.
        warmup (float): Share of the training, in [0, 1], over which the hard share grows linearly from 0 to
            ``hard_fraction``. Outside an MMEngine training there is no warm-up. Defaults to 0.5.
        neg_pos_ub (float): At most so many negatives per positive; -1 for no bound. Defaults to -1.
        add_gt_as_proposals (bool): Must be False: hardness belongs to anchors, and objects are none.
        context (nn.Module, optional): The head that builds the sampler. MMDetection passes it.

    Raises:
        ValueError: If an argument is out of its range.

    Note:
        ``sample`` returns MMDetection's ``SamplingResult`` with two fields more, ``hard_neg_inds`` and
        ``random_neg_inds``: the two parts of ``neg_inds``. Without hardness they are absent.

    Example:
        >>> sampler = NRPNSampler(num=4, pos_fraction=0.5, hard_fraction=0.5, pool_factor=1)
        >>> priors = torch.rand(100, 4)
        >>> assigned = AssignResult(0, torch.zeros(100).long(), torch.zeros(100), torch.zeros(100).long())
        >>> objects = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        >>> result = sampler.sample(assigned, InstanceData(priors=priors), objects, hardness=torch.arange(100.))
        >>> sorted(result.hard_neg_inds.tolist())
        [98, 99]
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        hard_fraction: float = 0.5,
        pool_factor: int = 4,
        warmup: float = 0.5,
        neg_pos_ub: int = -1,
        add_gt_as_proposals: bool = False,
        context: Optional[torch.nn.Module] = None,
    ) -> None:
        check_number('NRPNSampler', 'num', num, 0, integer=True)
        check_number('NRPNSampler', 'pos_fraction', pos_fraction, 0, 1)
        check_number('NRPNSampler', 'neg_pos_ub', neg_pos_ub, -1)
        check_number('NRPNSampler', 'hard_fraction', hard_fraction, 0, 1)
        check_number('NRPNSampler', 'pool_factor', pool_factor, 1, integer=True)
        check_number('NRPNSampler', 'warmup', warmup, 0, 1)  # a share of the training
        if add_gt_as_proposals:
            raise ValueError(
                'NRPNSampler: add_gt_as_proposals=True puts objects before the anchors, which would shift the '
                'hardness of every anchor; write add_gt_as_proposals=False'
            )
        super().__init__(int(num), pos_fraction, neg_pos_ub=neg_pos_ub, add_gt_as_proposals=False)
        self.hard_fraction, self.pool_factor, self.warmup = hard_fraction, int(pool_factor), warmup
        if context is not None and not getattr(context, 'may_have_nrpn_sampler', False):
            warnings.warn(
                f'NRPNSampler in {type(context).__name__} gets no hardness and samples every negative at random; '
                "write type='HardNegativeRPNHead' for the RPN's head to sample hard ones",
                stacklevel=2,
            )

    def sample(
        self,
        assign_result: AssignResult,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        hardness: Optional[Tensor] = None,
        **kwargs,
    ) -> SamplingResult:
        """Sample positives and negatives.

        Args:
            assign_result (AssignResult): Which prior has which object. Only ``gt_inds == 0`` are negatives.
            pred_instances (InstanceData): Its ``priors``, (num_priors, 4).
            gt_instances (InstanceData): Objects.
            hardness (Tensor, optional): (num_priors,), larger is harder. -inf and NaN are never sampled as hard.
                None samples at random, as ``RandomSampler`` does.

        Returns:
            SamplingResult: ``min(expected, available)`` distinct negatives, beside the positives.

        Raises:
            ValueError: If hardness has another number of values than there are priors.
        """
        if hardness is not None and hardness.shape != assign_result.gt_inds.shape:
            raise ValueError(
                f'NRPNSampler: hardness must have one value per prior, {tuple(assign_result.gt_inds.shape)}, '
                f'got {tuple(hardness.shape)}'
            )
        result = super().sample(assign_result, pred_instances, gt_instances, hardness=hardness, **kwargs)
        if hardness is not None:
            result.hard_neg_inds = assign_result.get_extra_property('hard_neg_inds')
            result.random_neg_inds = assign_result.get_extra_property('random_neg_inds')
        return result

    def _sample_neg(
        self, assign_result: AssignResult, num_expected: int, hardness: Optional[Tensor] = None, **kwargs
    ) -> Tensor:
        if hardness is None:
            return super()._sample_neg(assign_result, num_expected, **kwargs)
        with record_function('nRPN: sampling'):
            is_free = assign_result.gt_inds == 0
            loop = running_loop('max_iters') if self.warmup else None
            grown = 1.0 if loop is None else min(loop.iter / loop.max_iters / self.warmup, 1.0)
            num_hard = int(self.hard_fraction * grown * num_expected)
            hard_inds = self.sample_hard(hardness.float().masked_fill(~is_free, -torch.inf), num_hard)
            is_free[hard_inds] = False
            others = is_free.nonzero().squeeze(1)
            random_inds = self.random_choice(others, min(num_expected - len(hard_inds), len(others)))
        # BaseSampler.sample puts both parts together; this is how they come back apart
        assign_result.set_extra_property('hard_neg_inds', hard_inds)
        assign_result.set_extra_property('random_neg_inds', random_inds)
        return torch.cat([hard_inds, random_inds])

    def sample_hard(self, hardness: Tensor, num: int) -> Tensor:
        """Sample ``num`` of the ``pool_factor * num`` hardest. A subclass may choose otherwise.

        Args:
            hardness (Tensor): (num_priors,), -inf or NaN where a prior may not be sampled as hard.
            num (int): How many.

        Returns:
            Tensor: Distinct indices, (num,), fewer where fewer may be sampled.
        """
        hardness = hardness.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        # in a random order, so that no place is favoured where several are equally hard
        order = torch.randperm(len(hardness), device=hardness.device)
        pool = order[hardness[order].topk(min(num * self.pool_factor, len(hardness))).indices]
        pool = pool[hardness[pool] > -torch.inf]
        return pool[torch.randperm(len(pool), device=pool.device)[:num]]
