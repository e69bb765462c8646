"""Settings of the first edition that are gone, and what to write instead."""

from inspect import signature
from typing import Optional

from mmdet.models.dense_heads import AnchorHead, RPNHead

RANK = "loss_rank=dict(type='HardNegativeRankLoss', loss_weight=0.01, prior_weight=2.0)"
PAPER = "nrpn_head=dict(type='PaperNRPNHead')"
RPN_HEAD = {'hardness_weight': f'remove it; to learn from hard negatives among all anchors, write {RANK}'}
RPN_ARGUMENTS = {*signature(RPNHead.__init__).parameters, *signature(AnchorHead.__init__).parameters}
NRPN_HEAD = {
    'shared_conv': f'remove it: NRPNHead shares the convolution; for an nRPN with its own, write {PAPER}',
    'regress': f'remove it: NRPNHead does not regress; for an nRPN that does, write {PAPER}',
    'detach_features': 'remove it: features are always detached',
    'loss_weight': f"remove it; with {PAPER}, write loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, "
    'loss_weight=...) there',
}
TRAIN_CFG_NRPN = {
    'false_positives': 'move iou_thr and max_num to rpn_head.nrpn_head if that is an NRPNHead, and remove score_thr',
    'true_fraction': 'remove it',
    'sampler': f'remove it: NRPNHead learns from every candidate; with {PAPER}, set it in nrpn_head.train_cfg.sampler',
    'assigner': f"remove it, and write rpn_head.{PAPER}, with train_cfg=... there if not the RPN's",
    'allowed_border': f'remove it; with {PAPER}, set it in nrpn_head.train_cfg',
    'pos_weight': f'remove it; with {PAPER}, set it in nrpn_head.train_cfg',
}


def refuse_removed_settings(rpn_head: dict, nrpn_head: Optional[dict], train_cfg: Optional[dict]) -> None:
    """Refuse a config of the first edition.

    Args:
        rpn_head (dict): Keyword arguments of the RPN's head.
        nrpn_head (dict, optional): Its ``nrpn_head``.
        train_cfg (dict, optional): Its ``train_cfg``.

    Raises:
        ValueError: For a setting that is gone. It names the key, the value and what to write instead.
    """
    nrpn_head, old = nrpn_head or {}, (train_cfg or {}).get('nrpn')
    if str(nrpn_head.get('type')).endswith('RegionNRPNHead'):
        raise ValueError(f"rpn_head.nrpn_head.type='RegionNRPNHead' is gone; write {PAPER}, or leave nrpn_head out")
    for where, given, removed in (
        ('rpn_head', rpn_head, RPN_HEAD),
        ('rpn_head.nrpn_head', nrpn_head, NRPN_HEAD),
        ('train_cfg.rpn.nrpn', old or {}, TRAIN_CFG_NRPN),
    ):
        for key in removed:
            if key in given:
                raise ValueError(f'{where}.{key}={given[key]!r} is gone; {removed[key]}')
    if old is not None:
        raise ValueError(
            f'train_cfg.rpn.nrpn={dict(old)} is gone; remove it: settings of an nRPN stand in rpn_head.nrpn_head'
        )


def refuse_settings_of_an_rpn(nrpn_head: dict, nrpn_class: type) -> None:
    """Refuse an RPN's settings in an ``NRPNHead``, which took them in the first edition.

    Args:
        nrpn_head (dict): The config of the nRPN.
        nrpn_class (type): Its class.

    Raises:
        ValueError: If the class does not have a setting that is an RPN's.
    """
    for key in nrpn_head:
        if key in RPN_ARGUMENTS and key not in signature(nrpn_class).parameters or key == 'feat_channels':
            raise ValueError(
                f'rpn_head.nrpn_head.{key}={nrpn_head[key]!r} is a setting of an RPN, and {nrpn_class.__name__} is a '
                f"1x1 convolution on the RPN's hidden features; remove it, or write {PAPER}"
            )
