import torch

from mmdet_nrpn import EfficientNetLite0

NAMES = (('expand', 'expand'), ('depthwise', 'depthwise'), ('project', 'linear'))


def test_converts_every_weight_of_the_package(run_tool, tmp_path):
    """A checkpoint with the package's names, made from the backbone's own weights: 16 blocks, the first unexpanded."""
    torch.manual_seed(0)
    state = EfficientNetLite0().state_dict()
    names = {'layers.0.conv': '_conv_stem', 'layers.0.bn': '_bn0'}
    blocks = [f'layers.{stage}.{i}' for stage, num in ((1, 1), (2, 2), (3, 2), (4, 6), (5, 5)) for i in range(num)]
    for number, block in enumerate(blocks):
        for part, (their, our) in enumerate(NAMES):
            names[f'{block}.{our}_conv.conv'] = f'_blocks.{number}._{their}_conv'
            names[f'{block}.{our}_conv.bn'] = f'_blocks.{number}._bn{part}'
    theirs = {f'{names[name]}.{end}': state[f'{name}.{end}'] for name, end in (key.rsplit('.', 1) for key in state)}
    assert len(blocks) == 16 and len(theirs) == len(state)
    torch.save({**theirs, '_fc.weight': torch.zeros(1), '_conv_head.weight': torch.zeros(1)}, tmp_path / 'theirs.pth')
    out = tmp_path / 'new' / 'ours.pth'
    done = run_tool('tools/model_converters/efficientnet_lite0.py', tmp_path / 'theirs.pth', out)
    assert done.returncode == 0, done.stderr
    converted = torch.load(out, weights_only=True)
    assert converted.keys() == state.keys() and all(torch.equal(converted[key], state[key]) for key in state)


def test_is_efficientnet_b0_without_squeeze_and_excite():
    backbone = EfficientNetLite0()
    assert not any('SELayer' in type(module).__name__ for module in backbone.modules())
    shapes = [tuple(level.shape[1:]) for level in backbone(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(40, 8, 12), (112, 4, 6), (320, 2, 3)]
