import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdet_nrpn.utils import NRPN_PREFIX, is_of_nrpn, read_checkpoint, without_nrpn


@pytest.mark.parametrize(
    'key, expected',
    [
        ('rpn_head.nrpn_head.nrpn_cls.weight', True),
        ('nrpn_head.nrpn_cls.weight', True),  # of the RPN alone
        ('module.student.rpn_head.nrpn_head.rpn_conv.bias', True),
        ('rpn_head.rpn_cls.weight', False),
        ('rpn_head.my_nrpn_head.weight', False),
        ('rpn_head.nrpn_head_scale', False),
    ],
)
def test_a_key_of_an_nrpn_is_below_one(key, expected):
    assert is_of_nrpn(key) is expected
    assert without_nrpn({key: 1, 'backbone.conv1.weight': 2}).get(key) is (None if expected else 1)


def test_the_prefix_is_what_a_heads_weights_begin_with(build_head):
    head = build_head()
    own = head.nrpn_head.state_dict(prefix=NRPN_PREFIX)
    assert own and without_nrpn(head.state_dict()).keys() == head.state_dict().keys() - own.keys()


@pytest.mark.parametrize('as_zip', [True, False])
def test_reads_numpys_plain_data_beside_weights(tmp_path, as_zip):
    """In both formats of torch's: that of today, and that of MMDetection's older published weights."""
    meta = dict(seed=np.int64(3), palette=np.eye(2), classes=('a', 'b'), raw=b'ab', dtype=torch.float16)
    saved = dict(weight=torch.randn(3).requires_grad_(), half=torch.ones(2).bfloat16(), meta=meta)
    torch.save(saved, tmp_path / 'saved.pth', _use_new_zipfile_serialization=as_zip)
    read = read_checkpoint(tmp_path / 'saved.pth')
    assert torch.equal(read['weight'], saved['weight']) and torch.equal(read['half'], saved['half'])
    assert repr(read['meta']) == repr(meta)


@given(st.binary(max_size=60))
def test_what_is_no_checkpoint_is_told(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / 'no.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='no.pth cannot be read as a checkpoint of weights alone'):
        read_checkpoint(path)
