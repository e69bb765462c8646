import hashlib

import pytest
from mmdet.registry import DATASETS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config

TOOL = 'tools/dataset_converters/make_shapes.py'


def digest(root):
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def draw(run_tool):
    """What the fixture ``shapes`` drew, with seed 0."""
    return lambda root, seed: run_tool(TOOL, root, '--train', 12, '--val', 4, '--size', 128, '--seed', seed)


def test_the_same_options_draw_the_same_images_and_another_seed_others(draw, shapes, tmp_path):
    for seed in (0, 1):
        assert draw(tmp_path / f'seed{seed}', seed).returncode == 0
    drawn, other = digest(shapes), digest(tmp_path / 'seed1')
    assert digest(tmp_path / 'seed0') == drawn
    assert all(other[name] != drawn[name] for name in drawn if name.endswith('.jpg'))


def test_what_is_there_is_left_alone(draw, shapes):
    before = digest(shapes)
    again = draw(shapes, 0)
    assert again.returncode == 0 and 'there already' in again.stdout
    other = draw(shapes, 1)
    assert other.returncode == 2 and 'give a new folder' in other.stderr
    assert digest(shapes) == before


@pytest.mark.parametrize('place', ['mine', 'mine.part', 'mine/make_shapes.txt'])
def test_nobody_is_told_to_remove_what_the_tool_did_not_write(draw, tmp_path, place):
    """One's own data lie there, or where the tool might draw before it moves; a stamp does not make them the tool's."""
    folder = tmp_path / place.split('/')[0]
    folder.mkdir()
    (folder / 'own.jpg').write_bytes(b'own')
    if 'txt' in place:
        (tmp_path / place).write_text('--train 1')
    done = draw(tmp_path / 'mine', 0)
    assert (folder / 'own.jpg').read_bytes() == b'own'
    if place == 'mine.part':
        assert done.returncode == 0 and sorted(tmp_path.iterdir()) == [tmp_path / 'mine', folder]
    else:
        assert done.returncode == 2 and 'is there, and was not drawn with --train 12 --val 4 --size 128' in done.stderr


def test_is_a_voc_data_set_of_separate_shapes_of_many_sizes(run_tool, repo, tmp_path):
    assert run_tool(TOOL, tmp_path / 'shapes', '--train', 80, '--val', 1).returncode == 0
    cfg = Config.fromfile(repo / 'configs/nrpn/_base_/datasets/shapes.py').train_dataloader.dataset
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    dataset = DATASETS.build(dict(cfg, data_root=f'{tmp_path}/shapes/', filter_cfg=None, pipeline=steps))
    assert len(dataset) == 80
    sizes, ignored = [], 0
    for image in map(dataset.__getitem__, range(80)):
        assert image['img'].shape == (256, 256, 3)
        boxes = image['gt_bboxes'].tensor
        assert (boxes >= 0).all() and (boxes <= 255).all()
        assert bbox_overlaps(boxes, boxes).fill_diagonal_(0).sum() == 0
        sizes += (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt().tolist()
        ignored += int(image['gt_ignore_flags'].sum())
    assert min(sizes) < 16 and max(sizes) > 96  # below a half and above all of COCO's medium
    assert 0.03 < ignored / len(sizes) < 0.2  # one in ten is faint
