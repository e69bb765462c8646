from typing import Any, Dict, List, Optional, Tuple

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from mmengine.logging import print_log
from mmengine.model import PretrainedInit, initialize
from torch import Tensor, nn

from ..losses import OverlapLoss
from ...utils import in_float32
from .nrpn_head import NRPNHead
from .removed_settings import refuse_removed_settings, refuse_settings_of_an_rpn

RPN_TRAIN_CFG = {'assigner', 'sampler', 'allowed_border', 'pos_weight', 'debug'}


class RPNHeadWithNRPN(RPNHead):
    """An RPN that builds an nRPN, gives it weights to start from, and loads checkpoints with and without it.

    What the nRPN is for stands in :class:`~mmdet_nrpn.models.HardNegativeRPNHead`.

    Args:
        in_channels (int): Channels of the features.
        nrpn_head (dict, optional): Config of the nRPN, :class:`~mmdet_nrpn.models.NRPNHead` if it has no type. None:
            there is no nRPN, as in a head without a ``train_cfg``.
        kwargs: Arguments of ``RPNHead``.

    Raises:
        ValueError: For softmax objectness or other anchors of the nRPN, a setting of the first edition that is gone,
            or one that the nRPN does not have.
    """

    def __init__(self, in_channels: int, nrpn_head: OptConfigType, **kwargs) -> None:
        refuse_removed_settings(kwargs, nrpn_head, kwargs.get('train_cfg'))
        super().__init__(in_channels, **kwargs)
        _require_one_logit(self, 'rpn_head.loss_cls')
        # also built where it is not used, so that a misspelt setting does not pass in silence
        nrpn = None if nrpn_head is None else self._build_nrpn(nrpn_head, dict(in_channels=in_channels, **kwargs))
        self.nrpn_head: Any = nrpn if self.train_cfg else None

    def _build_nrpn(self, nrpn_head: ConfigType, rpn_head: dict) -> nn.Module:
        cfg = {'type': NRPNHead, **nrpn_head}
        nrpn_class = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
        if nrpn_class is not None and issubclass(nrpn_class, RPNHead):
            # weights to start from belong to the head that they are named for
            inherited = {key: value for key, value in rpn_head.items() if key != 'init_cfg'}
            if cfg.get('train_cfg') is not None:
                cfg['train_cfg'] = self._train_cfg_of(cfg['train_cfg'])
            if isinstance(self.loss_cls, OverlapLoss):  # the nRPN has no overlaps to hand over
                weight = self.loss_cls.loss_weight
                inherited['loss_cls'] = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=weight)
        else:
            if nrpn_class is not None:
                refuse_settings_of_an_rpn(nrpn_head, nrpn_class)
            inherited = dict(feat_channels=self.feat_channels, num_base_priors=self.num_base_priors)
        # The seed's other random numbers (backbone, second stage) stay those of the stock model.
        with torch.random.fork_rng(devices=[]):
            nrpn = MODELS.build({**inherited, **cfg})
        if isinstance(nrpn, RPNHead):
            self._check_second_rpn(nrpn)
        return nrpn

    def _train_cfg_of(self, own: dict) -> Optional[dict]:
        if not self.train_cfg:
            return None
        unknown = sorted(set(own) - set(self.train_cfg) - RPN_TRAIN_CFG)
        if unknown:
            raise ValueError(
                f'rpn_head.nrpn_head.train_cfg.{unknown[0]}={own[unknown[0]]!r} is no setting of an RPN; write one of '
                f'{sorted(RPN_TRAIN_CFG)}'
            )
        return {**self.train_cfg, **own}

    def _check_second_rpn(self, nrpn: RPNHead) -> None:
        """Its objectness of an anchor is taken for the hardness of this head's anchor at the same place in the row."""
        _require_one_logit(nrpn, 'rpn_head.nrpn_head.loss_cls')
        own, others = self.prior_generator, nrpn.prior_generator
        bases = [getattr(generator, 'base_anchors', []) for generator in (own, others)]
        same = list(own.strides) == list(others.strides) and len(bases[0]) == len(bases[1])
        if not (same and all(torch.equal(*levels) for levels in zip(*bases))):
            raise ValueError(
                'rpn_head.nrpn_head.anchor_generator gives other anchors than rpn_head.anchor_generator, and the nRPN '
                "says how hard the RPN's are; remove it"
            )

    def init_weights(self) -> None:
        """Initialise the RPN as the stock head does, and the nRPN without touching the seed's random numbers.

        A ``Pretrained`` checkpoint that holds an nRPN initialises the nRPN, too.
        """
        nrpn_head, self.nrpn_head = self.nrpn_head, None
        super().init_weights()
        self.nrpn_head = nrpn_head
        if nrpn_head is None:
            return
        # on a GPU, too, where MMEngine initialises a model that lies there
        devices = {parameter.device.index for parameter in nrpn_head.parameters() if parameter.is_cuda}
        with torch.random.fork_rng(devices=sorted(devices)):
            nrpn_head.init_weights()
        init_cfgs = self.init_cfg if isinstance(self.init_cfg, (list, tuple)) else [self.init_cfg or {}]
        initialize(self, [cfg for cfg in init_cfgs if cfg.get('type') in ('Pretrained', PretrainedInit)])

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        """Load a checkpoint with another nRPN or none, also strictly.

        Built for inference, the head has no nRPN and leaves a training checkpoint's out. In training, a checkpoint
        without an nRPN of this kind keeps the fresh one, and a line says so.
        """
        given = {key: value for key, value in state_dict.items() if key.startswith(f'{prefix}nrpn_head.')}
        own = {} if self.nrpn_head is None else self.nrpn_head.state_dict(prefix=f'{prefix}nrpn_head.')
        if _shapes(given) != _shapes(own):
            if own:
                print_log(
                    f'The checkpoint holds no {type(self.nrpn_head).__name__} of this shape; the nRPN starts from new '
                    'weights',
                    'current',
                )
            for key in given:
                state_dict.pop(key)
            state_dict.update(own)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward_nrpn(self, x: Tuple[Tensor], hidden: Tuple[Tensor]) -> tuple:
        """The nRPN's outputs, for :meth:`predict_nrpn_by_feat`. It is for looking at; training does not need it.

        Args:
            x (tuple[Tensor]): Features, one (N, in_channels, H, W) per level.
            hidden (tuple[Tensor]): Of :meth:`forward_with_hidden`.

        Returns:
            tuple | list[Tensor]: What ``nrpn_head`` returns.

        Raises:
            ValueError: If the head has no nRPN.
        """
        if self.nrpn_head is None:
            raise ValueError('HardNegativeRPNHead: forward_nrpn needs an nRPN, and this head has none')
        return self.nrpn_head(hidden if isinstance(self.nrpn_head, NRPNHead) else x)

    def predict_nrpn_by_feat(
        self, nrpn_outs: tuple, outs: tuple, batch_img_metas: List[dict], rescale: bool = False
    ) -> InstanceList:
        """The regions that the nRPN takes for hard negatives. It is for looking at; nothing else needs it.

        Args:
            nrpn_outs (tuple | list[Tensor]): What ``nrpn_head`` returned.
            outs (tuple): What this head returned: objectness and box deltas, a list of levels each.
            batch_img_metas (list[dict]): MMDetection's meta information.
            rescale (bool): Boxes in pixels of the original image. Defaults to False: of the input.

        Returns:
            list[InstanceData]: ``bboxes`` and ``scores`` of each image, best first, after NMS as ``test_cfg`` has it.
        """
        if isinstance(self.nrpn_head, NRPNHead):
            nrpn_outs = (nrpn_outs, outs[1])
        return self.predict_by_feat(*in_float32(nrpn_outs), batch_img_metas=batch_img_metas, rescale=rescale)


def _require_one_logit(head: RPNHead, key: str) -> None:
    if not head.use_sigmoid_cls:
        raise ValueError(
            f'{key} needs one logit per anchor, and AnchorHead reads that from the config; write '
            f"{key}=dict(type='{type(head.loss_cls).__name__}', use_sigmoid=True)"
        )


def _shapes(weights: Dict[str, Tensor]) -> Dict[str, torch.Size]:
    return {key: value.shape for key, value in weights.items()}
