import pytest

from mmdet_nrpn.utils import NRPN_PREFIX, is_of_nrpn, without_nrpn


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
