import warnings
from typing import List, Optional, Tuple

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from mmengine.logging import print_log
from torch import Tensor

from ..task_modules import NRPNSampler
from ..utils import in_float32, objectness_logits
from .hardness_rpn_head import HardnessRPNHead

HARDNESS = ('nrpn', 'rpn')


@MODELS.register_module()
class HardNegativeRPNHead(HardnessRPNHead):
    """An RPN that draws its negatives from a negative RPN (nRPN, Cho et al., ICIP 2019, poster Fig. 1b).

    Only training differs from ``RPNHead``: ``forward`` and ``predict`` are inherited. In each step the false
    positives among its proposals train the nRPN, and the nRPN's objectness tells
    :class:`~mmdet_nrpn.models.NRPNSampler` which negatives are hard. It also hands
    :class:`~mmdet_nrpn.models.OverlapLoss` the overlap of each positive anchor with its object.

    Args:
        in_channels (int): Channels of the features.
        nrpn_head (dict, optional): Config of the nRPN. What it leaves out is taken from this head. None trains
            without one. It is built for training only. Defaults to ``dict(type='NRPNHead')``.
        hardness (str): 'nrpn', or 'rpn' for the RPN's own objectness, which is online hard example mining and
            needs and builds no nRPN. Defaults to 'nrpn'.
        hardness_weight (float): A negative weighs ``1 + hardness_weight * sigmoid(hardness)`` in the classification
            loss (ours), at least 0. It is for losses on all anchors, such as focal loss with a ``PseudoSampler``,
            where nothing is drawn. Defaults to 0: all weigh the same.
        kwargs: Arguments of ``RPNHead``.

    Raises:
        ValueError: For an unknown ``hardness``, a negative ``hardness_weight``, softmax objectness, or an
            ``NRPNSampler`` without an nRPN to ask.

    Note:
        Logged beside the losses: ``nrpn_false_positives`` (a picture), and the RPN's mean objectness of the
        negatives it drew as hard (``rpn_hard_neg_score``) and at random (``rpn_random_neg_score``); 0 where it drew
        none.
    """

    def __init__(
        self,
        in_channels: int,
        nrpn_head: OptConfigType = dict(type='NRPNHead'),  # noqa: B006 (read only)
        hardness: str = 'nrpn',
        hardness_weight: float = 0.0,
        **kwargs,
    ) -> None:
        if hardness not in HARDNESS:
            raise ValueError(f'HardNegativeRPNHead: hardness must be one of {HARDNESS}, got hardness={hardness!r}')
        if hardness_weight < 0:
            raise ValueError(
                f'HardNegativeRPNHead: hardness_weight must be >= 0, got hardness_weight={hardness_weight}'
            )
        super().__init__(in_channels, **kwargs)
        if not self.use_sigmoid_cls:
            raise ValueError(
                'HardNegativeRPNHead: loss_cls needs one logit an anchor, and AnchorHead reads that from the config; '
                f"write loss_cls=dict(type='{type(self.loss_cls).__name__}', use_sigmoid=True)"
            )
        self.hardness, self.hardness_weight = hardness, hardness_weight
        self.nrpn_head = None
        if self.train_cfg and nrpn_head is not None and hardness == 'nrpn':
            self._build_nrpn(nrpn_head, dict(in_channels=in_channels, **kwargs))
        if self.train_cfg:
            self._check_sampler()

    def _build_nrpn(self, nrpn_head: ConfigType, inherited: dict) -> None:
        # The seed's other random numbers (backbone, second stage) stay those of the stock model.
        with torch.random.fork_rng(devices=[]):
            self.nrpn_head = MODELS.build({'type': 'NRPNHead', **inherited, **nrpn_head})
        self.ignored_iof_thr = self.nrpn_head.train_cfg.false_positives['iou_thr']
        if self.nrpn_head.shared_conv and self.nrpn_head.feat_channels != self.feat_channels:
            raise ValueError(
                'HardNegativeRPNHead: an nRPN that shares its convolution has '
                f'{self.feat_channels} channels, got feat_channels={self.nrpn_head.feat_channels}; write '
                f"nrpn_head=dict(type='NRPNHead', shared_conv=False, feat_channels={self.nrpn_head.feat_channels})"
            )

    def _check_sampler(self) -> None:
        draws_hard = isinstance(self.sampler, NRPNSampler)
        if draws_hard and self.hardness == 'nrpn' and self.nrpn_head is None:
            raise ValueError(
                "HardNegativeRPNHead: NRPNSampler has nobody to ask for hardness='nrpn' with nrpn_head=None; "
                "write nrpn_head=dict(type='NRPNHead'), hardness='rpn', or a stock sampler"
            )
        idle = not draws_hard and not self.hardness_weight
        if idle and (self.hardness == 'rpn' or self.nrpn_head is not None):
            warnings.warn(
                f'HardNegativeRPNHead: {type(self.sampler).__name__} draws no hard negatives, so hardness='
                f"{self.hardness!r} changes nothing; write train_cfg.rpn.sampler=dict(type='NRPNSampler'), or "
                'hardness_weight=4.0 with a loss on all anchors',
                stacklevel=2,
            )

    def init_weights(self) -> None:
        """Initialise the RPN as the stock head does, then the nRPN without touching the seed's random numbers."""
        nrpn_head, self.nrpn_head = self.nrpn_head, None
        super().init_weights()
        self.nrpn_head = nrpn_head
        if nrpn_head is not None:
            with torch.random.fork_rng(devices=[]):
                nrpn_head.init_weights()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        """Built for inference, the head has no nRPN: leave a training checkpoint's out, also when strict. In training,
        a checkpoint of a stock model has none: keep the fresh one, and say so.
        """
        given = [key for key in state_dict if key.startswith(f'{prefix}nrpn_head.')]
        if self.nrpn_head is None:
            for key in given:
                state_dict.pop(key)
        elif not given:
            print_log('The checkpoint holds no nRPN: it starts afresh', logger='current')
            state_dict.update(self.nrpn_head.state_dict(prefix=f'{prefix}nrpn_head.'))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward_with_nrpn(self, x: Tuple[Tensor]) -> Tuple[tuple, Tuple[Tensor]]:
        """The RPN's outputs, and what its nRPN sees: its features, or what its convolution makes of them.

        Args:
            x (tuple[Tensor]): Features, one (N, C, H, W) a level.

        Returns:
            tuple[tuple, tuple[Tensor]]: ``self(x)``, and one (N, C, H, W) a level.
        """
        seen = []
        with self.rpn_cls.register_forward_pre_hook(lambda module, args: seen.append(args[0])):
            outs = self(x)
        return outs, tuple(seen) if self.nrpn_head.shared_conv else x

    def predict_nrpn_by_feat(
        self,
        nrpn_outs: Tuple[List[Tensor], List[Optional[Tensor]]],
        bbox_preds: List[Tensor],
        batch_img_metas: List[dict],
        rescale: bool = False,
    ) -> InstanceList:
        """The regions that nRPN takes for hard negatives; for looking at, nothing else needs them.

        Args:
            nrpn_outs (tuple[list[Tensor], list[Tensor | None]]): What nRPN makes of what it sees.
            bbox_preds (list[Tensor]): The RPN's own box deltas, for an nRPN that regresses none.
            batch_img_metas (list[dict]): MMDetection's meta information.
            rescale (bool): Boxes in pixels of the original picture. Defaults to False: of the input.

        Returns:
            list[InstanceData]: ``bboxes`` and ``scores`` of each picture, best first, after NMS as ``test_cfg`` has it.
        """
        cls_scores, own_bbox_preds = nrpn_outs
        bbox_preds = own_bbox_preds if self.nrpn_head.regress else bbox_preds
        return self.nrpn_head.predict_by_feat(cls_scores, bbox_preds, batch_img_metas=batch_img_metas, rescale=rescale)

    def loss(self, x: Tuple[Tensor], batch_data_samples: SampleList) -> dict:
        """Losses of an RPN without a second stage.

        Args:
            x (tuple[Tensor]): Features, one (N, C, H, W) a level.
            batch_data_samples (list[DetDataSample]): Objects, ignored objects and meta information.

        Returns:
            dict: Losses and what is logged beside them.
        """
        return super().loss(x, batch_data_samples) if self.nrpn_head is None else self._loss(x, batch_data_samples)[0]

    def loss_and_predict(
        self, x: Tuple[Tensor], batch_data_samples: SampleList, proposal_cfg: OptConfigType = None
    ) -> Tuple[dict, InstanceList]:
        """Losses, and the proposals for a second stage.

        Args:
            x (tuple[Tensor]): Features, one (N, C, H, W) a level.
            batch_data_samples (list[DetDataSample]): Objects, ignored objects and meta information.
            proposal_cfg (dict, optional): NMS settings of the proposals; ``test_cfg`` if None.

        Returns:
            tuple[dict, list[InstanceData]]: Losses with what is logged, and the proposals of each picture.
        """
        if self.nrpn_head is None:
            return super().loss_and_predict(x, batch_data_samples, proposal_cfg)
        losses, outs = self._loss(x, batch_data_samples)
        img_metas = [sample.metainfo for sample in batch_data_samples]
        return losses, self.predict_by_feat(*in_float32(outs), batch_img_metas=img_metas, cfg=proposal_cfg)

    def _loss(self, x: Tuple[Tensor], batch_data_samples: SampleList) -> Tuple[dict, tuple]:
        gt_instances, ignored, img_metas = unpack_gt_instances(batch_data_samples)
        outs, seen = self.forward_with_nrpn(x)
        nrpn_losses, hardness = self.nrpn_head.loss_and_hardness(seen, outs, gt_instances, img_metas, ignored)
        losses = self.loss_by_feat(*outs, gt_instances, img_metas, ignored, hardness=hardness)
        return {**losses, **nrpn_losses}, outs

    def loss_by_feat(self, cls_scores: List[Tensor], *args, hardness: Optional[Tensor] = None) -> dict:
        """``HardnessRPNHead``'s; with ``hardness='rpn'``, the head's own objectness takes the place of hardness."""
        if self.hardness == 'rpn':
            hardness = objectness_logits(cls_scores)
        return super().loss_by_feat(cls_scores, *args, hardness=hardness)
