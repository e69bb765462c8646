from xml.etree import ElementTree


def objects_in(path):
    return [ElementTree.tostring(node) for node in ElementTree.parse(path).findall('object')]


def test_a_share_of_the_training_objects_stays(run_tool, shapes, tmp_path):
    for keep in (0.5, 1.0):
        done = run_tool('lab/scripts/annotate_partly.py', shapes, tmp_path / f'{keep}', '--keep', keep)
        assert done.returncode == 0, done.stderr
    names = sorted(str(path.relative_to(shapes)) for path in shapes.rglob('*') if path.is_file())
    assert all((tmp_path / '1.0' / name).read_bytes() == (shapes / name).read_bytes() for name in names)
    changed = {name for name in names if (tmp_path / '0.5' / name).read_bytes() != (shapes / name).read_bytes()}
    train = {f'Annotations/{i:06d}.xml' for i in range(12)}
    assert len(changed) > 6 and changed <= train
    before, after = ([objects_in(root / name) for name in sorted(train)] for root in (shapes, tmp_path / '0.5'))
    assert all(set(some) <= set(every) for some, every in zip(after, before))
    assert 0.3 < sum(map(len, after)) / sum(map(len, before)) < 0.7
