"""Make synthetic sequences for tracking: shapes that move among moving lookalikes, in MOT format.

    python lab/scripts/make_shape_sequences.py data/shape_sequences

Objects and lookalikes are those of make_shapes.py. Each keeps its looks, moves on a straight line, bounces off the
border, and hides what is farther away. Lookalikes have the shape and the colour of objects of their sequence. An object
is annotated where a quarter of it can be seen, under the same identity before and after it was hidden. Boxes are as
MMDetection reads them, from 0.

MMDetection's own converter writes annotations/*_cocoformat.json. MOT format, and so MMDetection, has one class to
track; it is called pedestrian. The same options always make the same sequences.
"""

import argparse
import contextlib
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple
from unittest.mock import patch

import cv2
import numpy as np
from tqdm import tqdm

sys.path.extend(str(Path(__file__).resolve().parents[2] / folder) for folder in ('tools', 'tools/dataset_converters'))
from arguments import at_least
from make_shapes import CLASSES, background, make_folder, mask_of, outline, spoil
from mmdet_tools import run_mmdet_tool

MIN_SIDE, MAX_SIDE = 24, 80  # pixels of a frame of side 256
MIN_SPEED, MAX_SPEED = 2, 8  # such pixels per frame
MIN_VISIBLE = 0.25
SEQINFO = """[Sequence]
name={name}
imDir=img1
frameRate=10
seqLength={frames}
imWidth={size}
imHeight={size}
imExt=.jpg
"""


class Shape(NamedTuple):
    """An object, or with a ``spoil_seed`` a lookalike: the seed of what is missing from it."""

    name: str
    color: np.ndarray
    side: float
    angle: float
    start: np.ndarray
    velocity: np.ndarray
    spoil_seed: Optional[int]

    def center(self, frame: int, size: int) -> np.ndarray:
        """Where it is (x, y), in pixels."""
        room = size - self.side
        # there and back again
        way = (self.start + frame * self.velocity) % (2 * room)
        return self.side / 2 + room - np.abs(room - way)

    def mask(self, frame: int, size: int) -> np.ndarray:
        """Its pixels, (size, size) uint8."""
        center = self.center(frame, size)
        mask = mask_of(outline(self.name, center, self.side, self.angle), size)
        if self.spoil_seed is None:
            return mask
        return spoil(mask, center, self.side, np.random.default_rng(self.spoil_seed))


def random_shapes(size: int, lookalikes: int, rng: np.random.Generator) -> List[Shape]:
    """The shapes of a sequence, the farthest first. The nearest is an object: no frame is without one."""
    looks = [(str(rng.choice(CLASSES)), rng.uniform(0, 255, 3)) for _ in range(rng.integers(4, 8))]
    # an object's look has its number; a lookalike's number is larger by the number of objects, or by a multiple of it
    numbers = [*range(1, len(looks) + int(rng.integers(lookalikes // 2, lookalikes + 1)))]
    shapes = []
    for number in [*rng.permutation(numbers), 0]:
        side = np.exp(rng.uniform(np.log(MIN_SIDE), np.log(MAX_SIDE))) * size / 256
        turn, speed = rng.uniform(0, 2 * np.pi), rng.uniform(MIN_SPEED, MAX_SPEED) * size / 256
        shapes.append(
            Shape(
                *looks[number % len(looks)],
                side=side,
                angle=rng.uniform(0, 2 * np.pi),
                start=rng.uniform(0, 2 * (size - side), 2),
                velocity=speed * np.array([np.cos(turn), np.sin(turn)]),
                spoil_seed=int(rng.integers(2**32)) if number >= len(looks) else None,
            )
        )
    return shapes


def draw_frame(ground: np.ndarray, shapes: List[Shape], frame: int) -> Tuple[np.ndarray, list]:
    """Draw one frame, without noise.

    Args:
        ground (np.ndarray): The background, (size, size, 3) float.
        shapes (list[Shape]): The farthest first.
        frame (int): Its number, from 0.

    Returns:
        tuple: The frame, and its objects as (identity, (left, top, width, height), visible share).
    """
    image, nearest = ground.copy(), np.full(ground.shape[:2], -1)
    masks = [shape.mask(frame, len(ground)) > 0 for shape in shapes]
    for number, (shape, mask) in enumerate(zip(shapes, masks)):
        image[mask] += 0.9 * (shape.color - image[mask])
        nearest[mask] = number
    objects = []
    for number, (shape, mask) in enumerate(zip(shapes, masks)):
        visible = (nearest[mask] == number).mean()
        if shape.spoil_seed is None and visible >= MIN_VISIBLE:
            objects.append((number + 1, cv2.boundingRect(mask.astype(np.uint8)), visible))
    return image, objects


def make_sequence(folder: Path, frames: int, size: int, lookalikes: int, rng: np.random.Generator) -> None:
    (folder / 'img1').mkdir(parents=True)
    (folder / 'gt').mkdir()
    (folder / 'seqinfo.ini').write_text(SEQINFO.format(name=folder.name, frames=frames, size=size))
    ground, shapes = background(size, rng), random_shapes(size, lookalikes, rng)
    lines = []
    for frame in range(frames):
        image, objects = draw_frame(ground, shapes, frame)
        image = (image + rng.normal(0, 10, image.shape)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / 'img1' / f'{frame + 1:06d}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        # frame, identity, box, whether it counts, class, visible share
        lines += [f'{frame + 1},{identity},{",".join(map(str, box))},1,1,{seen:.5f}' for identity, box, seen in objects]
    (folder / 'gt' / 'gt.txt').write_text('\n'.join(lines) + '\n')


def convert(root: Path, split: str) -> None:
    """MMDetection's annotations of a split. Its converter takes folders that are called train and test."""
    listdir = os.listdir
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / 'train').symlink_to((root / split).resolve())
        (Path(folder) / 'test').mkdir()
        arguments = ['mot2coco.py', '--input', folder, '--output', folder]
        # it numbers identities in the file system's order, and tells of the empty folder
        in_order = patch('os.listdir', lambda path: sorted(listdir(path)))
        with patch('sys.argv', arguments), in_order, contextlib.redirect_stdout(io.StringIO()):
            run_mmdet_tool('dataset_converters/mot2coco.py')
        (root / 'annotations').mkdir(exist_ok=True)
        shutil.copy(Path(folder) / 'train_cocoformat.json', root / 'annotations' / f'{split}_cocoformat.json')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out_dir', type=Path, help='folder to make; left alone if it is there')
    parser.add_argument('--train', type=at_least(1), default=16, help='training sequences (default: %(default)s)')
    parser.add_argument('--val', type=at_least(1), default=8, help='validation sequences (default: %(default)s)')
    parser.add_argument('--frames', type=at_least(1), default=30, help='frames per sequence (default: %(default)s)')
    parser.add_argument(
        '--size', type=at_least(32), default=160, help='side of a frame in pixels (default: %(default)s)'
    )
    parser.add_argument(
        '--lookalikes', type=at_least(0), default=6, help='most hard negatives per sequence (default: %(default)s)'
    )
    parser.add_argument(
        '--seed', type=at_least(0), default=0, help='of everything that is random (default: %(default)s)'
    )
    args = parser.parse_args()
    keys = ('train', 'val', 'frames', 'size', 'lookalikes', 'seed')

    def fill(folder: Path) -> None:
        splits = ['train'] * args.train + ['val'] * args.val
        for number, split in enumerate(tqdm(splits, desc='drawing', unit='sequence')):
            rng = np.random.default_rng([args.seed, number])
            make_sequence(folder / split / f'shapes-{number:02d}', args.frames, args.size, args.lookalikes, rng)
        for split in ('train', 'val'):
            convert(folder, split)

    make_folder(args.out_dir, ' '.join(f'--{key} {getattr(args, key)}' for key in keys), fill, parser)


if __name__ == '__main__':
    main()
