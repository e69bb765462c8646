import configparser
import hashlib
import json
from itertools import groupby

import cv2
import numpy as np
import pytest

SEQUENCES, FRAMES, SIZE = 10, 30, 128


def digest(root):
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def options(root, seed=0, frames=FRAMES):
    tool = 'lab/scripts/make_shape_sequences.py'
    return [tool, root, '--train', SEQUENCES, '--val', 1, '--frames', frames, '--size', SIZE, '--seed', seed]


@pytest.fixture
def root(run_tool, tmp_path):
    done = run_tool(*options(tmp_path / 'sequences'))
    assert done.returncode == 0, done.stderr
    return tmp_path / 'sequences'


def tracks(folder):
    """The lines of a sequence's ground truth, by identity."""
    lines = np.loadtxt(folder / 'gt' / 'gt.txt', delimiter=',', ndmin=2)
    lines = lines[np.lexsort((lines[:, 0], lines[:, 1]))]
    return {int(identity): np.stack([*rows]) for identity, rows in groupby(lines, key=lambda row: row[1])}


def test_the_same_options_make_the_same_sequences_and_another_seed_others(run_tool, tmp_path):
    for name, seed in (('first', 0), ('again', 0), ('other', 1)):
        assert run_tool(*options(tmp_path / name, seed, frames=2)).returncode == 0
    assert digest(tmp_path / 'first') == digest(tmp_path / 'again')
    assert digest(tmp_path / 'first') != digest(tmp_path / 'other')
    other = run_tool(*options(tmp_path / 'first', seed=1, frames=2))
    assert other.returncode == 2 and 'give a new folder' in other.stderr


def test_objects_move_and_keep_identity_and_looks(root):
    came_back, partly_hidden = 0, 0
    for folder in (root / 'train').iterdir():
        images = [cv2.imread(str(path)).astype(float) for path in sorted((folder / 'img1').iterdir())]
        assert len(images) == FRAMES and images[0].shape == (SIZE, SIZE, 3)
        everything = tracks(folder)
        assert {int(frame) for rows in everything.values() for frame in rows[:, 0]} == {*range(1, FRAMES + 1)}
        for rows in everything.values():
            frames, boxes, visible = rows[:, 0], rows[:, 2:6], rows[:, 8]
            assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= SIZE).all()
            assert np.diff(frames).min(initial=1) >= 1  # once in a frame
            came_back += (np.diff(frames) > 1).any()
            partly_hidden += (visible < 0.9).any()
            assert visible.min() >= 0.25 and visible.max() <= 1
            centers = boxes[:, :2] + boxes[:, 2:] / 2
            steps = np.linalg.norm(np.diff(centers, axis=0), axis=1) / np.diff(frames)
            assert steps.max(initial=0) <= 8 * SIZE / 256 + 1.5  # rounded to pixels
            if len(rows) > 10:
                assert np.ptp(centers, axis=0).max() > 4
            whole = visible == 1
            seen = [images[int(f) - 1][int(y), int(x)] for f, (x, y) in zip(frames[whole], centers[whole])]
            if len(seen) > 2:
                assert np.std(seen, axis=0).max() < 25  # noise has 10, and a tenth of the background shines through
    assert came_back and partly_hidden > 3


def test_lookalikes_move_and_are_no_objects(run_tool, tmp_path):
    """Without objects' tracks there is nothing in the ground truth, whatever moves in the images."""
    with_none = options(tmp_path / 'none', frames=8)
    assert run_tool(*with_none, '--lookalikes', 0).returncode == 0
    assert run_tool(*options(tmp_path / 'some', frames=8), '--lookalikes', 20).returncode == 0
    counts = {}
    for name in ('none', 'some'):
        moved, objects = [], []
        for folder in (tmp_path / name / 'train').iterdir():
            first, *_, last = [cv2.imread(str(path)).astype(float) for path in sorted((folder / 'img1').iterdir())]
            moved.append((np.abs(first - last).max(axis=2) > 60).mean())
            objects.append(len(tracks(folder)))
        counts[name] = np.mean(moved), np.mean(objects)
    assert counts['some'][0] > 1.5 * counts['none'][0]
    assert counts['some'][1] <= 7 and counts['none'][1] <= 7


def test_is_what_mmdetections_converter_reads(root):
    info = configparser.ConfigParser()
    info.read(root / 'train' / 'shapes-00' / 'seqinfo.ini')
    assert info['Sequence']['seqLength'] == str(FRAMES) and info['Sequence']['imWidth'] == str(SIZE)
    for split, number in (('train', SEQUENCES), ('val', 1)):
        said = json.loads((root / 'annotations' / f'{split}_cocoformat.json').read_text())
        names = [video['name'] for video in said['videos']]
        assert names == sorted(path.name for path in (root / split).iterdir()) and len(names) == number
        assert len(said['images']) == number * FRAMES
        assert all((root / split / image['file_name']).is_file() for image in said['images'])
        expected = [tracks(root / split / name) for name in names]
        assert len(said['annotations']) == sum(len(rows) for by_id in expected for rows in by_id.values())
        assert {a['instance_id'] for a in said['annotations']} == {*range(sum(map(len, expected)))}
        of_image = {image['id']: (image['video_id'] - 1, image['mot_frame_id']) for image in said['images']}
        for annotation in said['annotations'][::50]:
            video, frame = of_image[annotation['image_id']]
            rows = expected[video][annotation['mot_instance_id']]
            assert annotation['bbox'] == rows[rows[:, 0] == frame][0, 2:6].tolist()


@pytest.mark.parametrize(
    'option, value, least',
    [('--train', 0, 1), ('--val', 0, 1), ('--frames', 0, 1), ('--size', 8, 32), ('--lookalikes', -1, 0)],
)
def test_numbers_that_make_no_sense_are_refused(run_tool, tmp_path, option, value, least):
    done = run_tool('lab/scripts/make_shape_sequences.py', tmp_path / 'new', option, value)
    assert done.returncode == 2 and f'{option}: must be {least} or more, got {value}' in done.stderr
    assert not [*tmp_path.glob('new*')]
