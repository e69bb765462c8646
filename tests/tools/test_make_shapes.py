import hashlib
from xml.etree import ElementTree

import pytest
from mmdet.registry import DATASETS
from mmdet.structures.bbox import bbox_overlaps


def digest(root):
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def options(root, seed):
    return ['tools/dataset_converters/make_shapes.py', root, '--train', 12, '--val', 4, '--size', 128, '--seed', seed]


def test_the_same_options_draw_the_same_images_and_another_seed_others(run_tool, shapes, tmp_path):
    for seed in (0, 1):
        assert run_tool(*options(tmp_path / f'seed{seed}', seed)).returncode == 0
    assert digest(tmp_path / 'seed0') == digest(shapes)
    assert digest(tmp_path / 'seed1') != digest(shapes)


def test_what_is_there_is_left_alone(run_tool, shapes):
    before = digest(shapes)
    again = run_tool(*options(shapes, 0))
    assert again.returncode == 0 and 'there already' in again.stdout
    other = run_tool(*options(shapes, 1))
    assert other.returncode == 2 and 'give a new folder' in other.stderr
    assert digest(shapes) == before


@pytest.mark.parametrize('tool', ['make_shapes', 'make_shape_sequences'])
@pytest.mark.parametrize('place', ['mine', 'mine.part', 'mine/make_shapes.txt'])
def test_nobody_is_told_to_remove_what_the_tool_did_not_write(run_tool, tmp_path, tool, place):
    """One's own data lie there, or where the tool might draw before it moves; a stamp does not make them the tool's."""
    folder = tmp_path / place.split('/')[0]
    folder.mkdir()
    (folder / 'own.jpg').write_bytes(b'own')
    if 'txt' in place:
        (tmp_path / place).write_text('--train 1')
    command = [f'tools/dataset_converters/{tool}.py', tmp_path / 'mine', '--train', 1, '--val', 1]
    done = run_tool(*command, *(['--frames', 1] if 'sequences' in tool else []))
    assert (folder / 'own.jpg').read_bytes() == b'own'
    if place == 'mine.part':
        assert done.returncode == 0 and sorted(tmp_path.iterdir()) == [tmp_path / 'mine', folder]
    else:
        assert done.returncode == 2 and 'give a new folder' in done.stderr and 'remove it' not in done.stderr
        assert ('was drawn with --train 1' if 'txt' in place else 'not drawn by this tool') in done.stderr


def test_is_a_voc_data_set_of_separate_shapes_of_many_sizes(run_tool, tmp_path):
    root = tmp_path / 'shapes'
    assert run_tool('tools/dataset_converters/make_shapes.py', root, '--train', 80, '--val', 1).returncode == 0
    dataset = DATASETS.build(
        dict(
            type='XMLDataset',
            data_root=str(root),
            ann_file='ImageSets/Main/train.txt',
            data_prefix=dict(sub_data_root=''),
            metainfo=dict(classes=('disc', 'square', 'triangle')),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)],
        )
    )
    assert len(dataset) == 80
    sizes, ignored = [], 0
    for i in range(len(dataset)):
        image = dataset[i]
        assert image['img'].shape == (256, 256, 3)
        boxes = image['gt_bboxes'].tensor
        assert (boxes >= 0).all() and (boxes <= 255).all()
        overlaps = bbox_overlaps(boxes, boxes).fill_diagonal_(0)
        assert overlaps.numel() == 0 or overlaps.max() == 0
        sizes += (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt().tolist()
        ignored += int(image['gt_ignore_flags'].sum())
    assert min(sizes) < 16 and max(sizes) > 96  # below a half and above all of COCO's medium
    assert 0.03 < ignored / len(sizes) < 0.2  # one in ten is faint


def test_a_share_of_the_training_objects_is_annotated(run_tool, shapes, tmp_path):
    """Images, their order, all of the validation set, and what is kept of the training set stay as they are."""
    for keep in (0.5, 1.0):
        done = run_tool(*options(tmp_path / f'keep{keep}', 0), '--keep', keep)
        assert done.returncode == 0, done.stderr
    whole, part = digest(shapes), digest(tmp_path / 'keep0.5')
    assert digest(tmp_path / 'keep1.0') == whole
    changed = {name for name in whole if part[name] != whole[name]} - {'make_shapes.txt'}
    train = {f'Annotations/{i:06d}.xml' for i in range(12)}
    assert len(changed) > 6 and changed <= train
    before, after = ([objects_in(root / name) for name in sorted(train)] for root in (shapes, tmp_path / 'keep0.5'))
    assert all(set(some) <= set(every) for some, every in zip(after, before))
    assert 0.3 < sum(map(len, after)) / sum(map(len, before)) < 0.7

    again = run_tool(*options(tmp_path / 'keep0.5', 0), '--keep', 0.5)
    assert again.returncode == 0 and 'there already' in again.stdout
    assert run_tool(*options(tmp_path / 'keep0.5', 0)).returncode == 2
    for keep in (0, 1.1):
        done = run_tool(*options(tmp_path / 'other', 0), '--keep', keep)
        assert done.returncode == 2 and '--keep is a share in (0, 1], got' in done.stderr


def objects_in(path):
    return [ElementTree.tostring(node) for node in ElementTree.parse(path).findall('object')]


@pytest.mark.parametrize(
    'option, value, least',
    [('--train', 0, 1), ('--val', -5, 1), ('--size', 8, 32), ('--lookalikes', -1, 0), ('--seed', -1, 0)],
)
def test_numbers_that_make_no_sense_are_refused(run_tool, tmp_path, option, value, least):
    done = run_tool('tools/dataset_converters/make_shapes.py', tmp_path / 'new', option, value)
    assert done.returncode == 2 and f'{option}: must be {least} or more, got {value}' in done.stderr
    assert not [*tmp_path.glob('new*')]
