import pandas as pd

from lab.csv_lines import CSVLines


def test_goes_on_with_what_is_there(tmp_path):
    path = tmp_path / 'new' / 'lines.csv'
    first = CSVLines(path, 2)
    assert not first.has(row='a', seed=5)
    first.add([dict(row='a', seed=5, value=1 / 3), dict(row='a', seed=5, value=2 / 3)])
    again = CSVLines(path, 2)
    assert again.has(row='a', seed=5)
    assert not again.has(row='a', seed=6) and not again.has(row='b', seed=5)
    again.add(dict(row='b', seed=seed, value=0.5) for seed in (5, 6))
    assert again.has(row='b', seed=6) and not again.has(row='a', seed=6)
    kept = pd.read_csv(path)
    assert kept.to_dict('list') == dict(row=[*'aabb'], seed=[5, 5, 5, 6], value=[0.33, 0.67, 0.5, 0.5])
