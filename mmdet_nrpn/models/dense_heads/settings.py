"""What :class:`HardNegativeRPNHead` makes of its settings: the nRPN beside it, and errors that say what to write."""

import warnings
from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.task_modules.samplers import CombinedSampler
from mmdet.registry import MODELS
from torch import nn

from ...utils import check_number
from ..task_modules import NRPNSampler
from .nrpn_head import NRPNHead

HARDNESS_SOURCES = ('nrpn', 'rpn')


def check_settings(nrpn_head: Any, loss_rank: Any, hardness: Any, hard_iou_thr: Any) -> None:
    """Refuse what the head's own settings may not be, with a ValueError."""
    for key, value in dict(nrpn_head=nrpn_head, loss_rank=loss_rank).items():
        if not (value is None or isinstance(value, dict)):
            raise ValueError(f'rpn_head: {key} must be a dict or None, got {key}={value!r}; write None for none')
    if hardness not in HARDNESS_SOURCES:
        raise ValueError(f'rpn_head: hardness must be one of {HARDNESS_SOURCES}, got hardness={hardness!r}')
    if hard_iou_thr is not None:
        check_number('rpn_head', 'hard_iou_thr', hard_iou_thr, 0, 1, above_low=True)


def require_one_logit(head: RPNHead, key: str) -> None:
    """Refuse softmax objectness, with a ValueError that names the config's key."""
    if not head.use_sigmoid_cls:
        raise ValueError(
            f'{key} needs one logit per anchor, and AnchorHead reads that from the config; write '
            f"{key}=dict(type='{type(head.loss_cls).__name__}', use_sigmoid=True)"
        )


def build_nrpn(rpn: RPNHead, cfg: dict, rpn_cfg: dict) -> nn.Module:
    """Build an nRPN, which takes from its RPN what it needs (``from_rpn``).

    Args:
        rpn (RPNHead): The RPN, built as far as ``RPNHead`` builds it.
        cfg (dict): ``nrpn_head`` of the config.
        rpn_cfg (dict): The arguments of ``RPNHead`` that the RPN was built with.

    Raises:
        ValueError: If its type is no nRPN.
        TypeError: For an argument that its class does not have.
    """
    cfg = {'type': NRPNHead, **cfg}
    kind = cfg.pop('type')
    with MODELS.switch_scope_and_registry(None) as registry:  # where MMEngine would look for it
        nrpn_class = registry.get(kind) if isinstance(kind, str) else kind
    if not hasattr(nrpn_class, 'from_rpn'):
        raise ValueError(
            f'rpn_head.nrpn_head.type={kind!r} is no nRPN; write NRPNHead, PaperNRPNHead or a class derived from one, '
            'and name its module in custom_imports'
        )
    # The seed's other random numbers (backbone, second stage) stay those of the stock model.
    with torch.random.fork_rng(devices=[]):
        nrpn = nrpn_class.from_rpn(rpn, rpn_cfg, **cfg)
    if isinstance(nrpn, RPNHead):
        require_one_logit(nrpn, 'rpn_head.nrpn_head.loss_cls')
    return nrpn


def check_use_of_hardness(head: RPNHead) -> None:
    """Refuse a sampler by hardness that gets none, and warn of hardness that the RPN does not learn from."""
    if not head.train_cfg:
        return
    sampler, samples_hard = head.sampler, isinstance(head.sampler, NRPNSampler)
    if isinstance(sampler, CombinedSampler) and isinstance(sampler.neg_sampler, NRPNSampler):
        raise ValueError(
            'HardNegativeRPNHead: an NRPNSampler gets no hardness as train_cfg.rpn.sampler.neg_sampler; '
            "write sampler=dict(type='NRPNSampler') in the place of the combined one"
        )
    if samples_hard and head.hardness == 'nrpn' and head.nrpn_head is None:
        raise ValueError(
            "HardNegativeRPNHead: NRPNSampler has no nRPN to ask for hardness='nrpn' with nrpn_head=None; "
            "write nrpn_head=dict(type='NRPNHead'), hardness='rpn', or a stock sampler"
        )
    if not samples_hard and head.loss_rank is None and (head.hardness == 'rpn' or head.nrpn_head is not None):
        warnings.warn(
            f'HardNegativeRPNHead: {type(sampler).__name__} samples no hard negatives and loss_rank=None, so the RPN '
            f'learns nothing from hardness={head.hardness!r}; write loss_rank=dict(), '
            "train_cfg.rpn.sampler=dict(type='NRPNSampler'), or nrpn_head=None",
            stacklevel=3,
        )
