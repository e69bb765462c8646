from typing import Optional

from mmdet.utils import ConfigType
from mmengine.config import ConfigDict

FALSE_POSITIVES = dict(score_thr=0.3, iou_thr=0.3, max_num=1000)
STOCK_KEYS = ('assigner', 'sampler', 'allowed_border', 'pos_weight', 'debug')
NEUTRAL = dict(allowed_border=-1, pos_weight=-1)
KEYS = (*STOCK_KEYS, 'false_positives', 'true_fraction')


def nrpn_settings(train_cfg: Optional[ConfigType]) -> Optional[ConfigDict]:
    """What an nRPN is trained with: an RPN's ``train_cfg`` with what ``train_cfg['nrpn']`` says laid over it.

    Args:
        train_cfg (dict, optional): The RPN's.

    Returns:
        ConfigDict: Its keys for ``AnchorHead``, ``false_positives`` and ``true_fraction`` in full, and ``assigns``:
        whether nRPN was given an assigner of its own. None for None.

    Raises:
        ValueError: For an unknown key or a value out of its range.
    """
    if train_cfg is None:
        return None
    own = train_cfg.get('nrpn') or {}
    _check_keys(own, KEYS, 'train_cfg.rpn.nrpn')
    settings = ConfigDict({key: train_cfg[key] for key in STOCK_KEYS if key in train_cfg})
    settings.update(own)
    settings.assigns = 'assigner' in own
    idle = [key for key, neutral in NEUTRAL.items() if own.get(key, neutral) != neutral]
    if idle and not settings.assigns:
        raise ValueError(f'train_cfg.rpn.nrpn: {idle} change nothing without train_cfg.rpn.nrpn.assigner')
    settings.sampler = _sampler(train_cfg.get('sampler', {}), own.get('sampler'), settings.assigns)
    settings.false_positives = _false_positives(own.get('false_positives', {}))
    settings.setdefault('true_fraction', 0.5)
    if not 0 <= settings.true_fraction <= 1:
        raise ValueError(f'train_cfg.rpn.nrpn.true_fraction must be in [0, 1], got {settings.true_fraction}')
    return settings


def _check_keys(given: dict, known: tuple, where: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f'{where} has unknown keys {unknown}; known are {tuple(known)}')


def _sampler(rpns: dict, own: Optional[dict], assigns: bool) -> dict:
    """The RPN's numbers, drawn at random, with what nRPN's own sampler says laid over them."""
    shared = ('num', 'pos_fraction', 'neg_pos_ub', 'add_gt_as_proposals')
    given = {key: rpns[key] for key in shared if key in rpns}
    # RandomSampler's own default puts objects before the anchors
    usual = dict(type='RandomSampler', num=256, pos_fraction=0.5, add_gt_as_proposals=False)
    sampler = {**usual, **given, **(own or {})}
    bounded = own is not None and own.get('neg_pos_ub', -1) >= 0
    if not assigns and (bounded or sampler['type'] != 'RandomSampler'):
        raise ValueError(
            f'train_cfg.rpn.nrpn.sampler={dict(own)} draws from anchors that are assigned; write '
            "train_cfg.rpn.nrpn.assigner as well, or dict(type='RandomSampler', num=..., pos_fraction=...)"
        )
    return sampler


def _false_positives(given: dict) -> dict:
    where = 'train_cfg.rpn.nrpn.false_positives'
    _check_keys(given, tuple(FALSE_POSITIVES), where)
    cfg = dict(FALSE_POSITIVES, **given)
    for key in ('score_thr', 'iou_thr'):
        if not 0 <= cfg[key] <= 1:
            raise ValueError(f'{where}.{key} must be in [0, 1], got {cfg[key]}')
    if cfg['max_num'] < 1:
        raise ValueError(f'{where}.max_num must be >= 1, got {cfg["max_num"]}')
    return cfg
