import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdet_nrpn.models.utils import draw


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 3), size=st.integers(0, 60), num=st.integers(0, 80))
def test_draws_as_many_distinct_set_places_as_there_are(seed, rows, size, num):
    torch.manual_seed(seed)
    mask = torch.rand(rows, size) < torch.rand(1)
    places, is_set = draw(mask, num)
    assert places.shape == is_set.shape == (rows, min(num, size))
    for row, row_places, row_set in zip(mask, places, is_set):
        assert len(set(row_places.tolist())) == len(row_places)
        assert torch.equal(row[row_places], row_set)
        assert row_set.sum() == min(num, int(row.sum()))


def test_every_set_place_is_equally_likely():
    torch.manual_seed(0)
    mask, counts = torch.arange(40) % 2 == 0, torch.zeros(40)
    for _ in range(2000):
        places, is_set = draw(mask, 5)
        counts[places[is_set]] += 1
    assert counts[1::2].sum() == 0
    # 5 of 20: 500 +- 19.4 (binomial); 5 standard deviations
    assert (counts[::2] - 500).abs().max() < 97
