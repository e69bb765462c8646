"""Draw the embedded data set: shapes among lookalikes, in PASCAL VOC format.

    python tools/dataset_converters/make_shapes.py data/shapes

Objects are filled discs, squares and triangles. *Lookalikes* are the planted hard negatives: the same shapes, sizes
and colours with a piece missing or a hole, and no objects. The background is noisy and crossed by lines. One object in
ten is faint and marked difficult, so it is ignored in training and measuring. docs/get_started.md says more.

The same options always draw the same images: each has a random generator of its own, made of seed and number.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from arguments import Parser, at_least

CLASSES = ('disc', 'square', 'triangle')
DIFFICULT_SHARE = 0.1
MIN_SIDE, MAX_SIDE = 14, 150  # pixels of an image of side 256
TRIES = 10  # to find room for a shape


def outline(name: str, center: np.ndarray, side: float, angle: float) -> np.ndarray:
    """Corners of a shape whose box is about ``side`` wide, (K, 2)."""
    corners = {'disc': 64, 'square': 4, 'triangle': 3}[name]
    # a square of this radius has sides of length ``side`` when it stands straight
    radius = side / 2 * (np.sqrt(2) if name == 'square' else 1)
    turns = angle + 2 * np.pi * np.arange(corners) / corners
    return center + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)


def mask_of(corners: np.ndarray, size: int) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    return mask


def spoil(mask: np.ndarray, center: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """Make a lookalike: cut a hole into the middle, or a wedge out of the side."""
    spoiled = mask.copy()
    if rng.random() < 0.5:
        cv2.circle(spoiled, np.round(center).astype(int).tolist(), max(int(0.28 * side), 2), 0, -1)
    else:
        turn = rng.uniform(0, 2 * np.pi)
        rim = center + side * np.stack([np.cos([turn - 0.5, turn + 0.5]), np.sin([turn - 0.5, turn + 0.5])], axis=1)
        cv2.fillPoly(spoiled, [np.round([center, *rim]).astype(np.int32)], 0)
    return spoiled


def background(size: int, rng: np.random.Generator) -> np.ndarray:
    """A blotchy, noisy ground crossed by lines and arcs, (size, size, 3) float."""
    blotches = rng.uniform(40, 215, (6, 6, 3)).astype(np.float32)
    ground = cv2.resize(blotches, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(4, 12)):
        color, width = rng.uniform(0, 255, 3).tolist(), int(rng.integers(1, 4))
        start, end = rng.integers(0, size, 2).tolist(), rng.integers(0, size, 2).tolist()
        if rng.random() < 0.5:
            cv2.line(ground, start, end, color, width, cv2.LINE_AA)
        else:
            cv2.ellipse(ground, start, end, float(rng.uniform(0, 180)), 0, 180, color, width, cv2.LINE_AA)
    return ground


def draw_image(size: int, lookalikes: int, rng: np.random.Generator) -> tuple:
    """Draw one image, (size, size, 3) uint8, with at most so many lookalikes.

    Beside it, its objects as (name, box, difficult), a box being the first and the last pixel (x1, y1, x2, y2), counted
    from 0.
    """
    image = background(size, rng)
    taken = np.zeros((size, size), bool)
    objects = []
    kinds = [True] * int(rng.integers(2, 8)) + [False] * int(rng.integers(lookalikes // 2, lookalikes + 1))
    for is_object in rng.permutation(kinds):
        for _ in range(TRIES):
            name = str(rng.choice(CLASSES))
            side = np.exp(rng.uniform(np.log(MIN_SIDE), np.log(MAX_SIDE))) * size / 256
            center = rng.uniform(side / 2, size - side / 2, 2)
            mask = mask_of(outline(name, center, side, rng.uniform(0, 2 * np.pi)), size)
            ys, xs = np.nonzero(mask)
            box = (xs.min(), ys.min(), xs.max(), ys.max())
            inside = np.s_[box[1] : box[3] + 1, box[0] : box[2] + 1]
            if not taken[inside].any():  # boxes stay apart: each holds one whole shape
                break
        else:
            continue  # the image is full
        taken[inside] = True
        difficult = bool(is_object and rng.random() < DIFFICULT_SHARE)
        if not is_object:
            mask = spoil(mask, center, side, rng)
        opacity = 0.15 if difficult else 0.9
        image[mask > 0] += opacity * (rng.uniform(0, 255, 3) - image[mask > 0])
        if is_object:
            objects.append((name, box, difficult))
    image += rng.normal(0, 10, image.shape)
    return image.clip(0, 255).astype(np.uint8), objects


def annotation(name: str, size: int, objects: list) -> str:
    """VOC's XML; its pixels count from 1."""
    xml = f'<filename>{name}.jpg</filename><size><width>{size}</width><height>{size}</height><depth>3</depth></size>'
    for label, box, difficult in objects:
        corners = [f'<{key}>{value + 1}</{key}>' for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box)]
        xml += f'<object><name>{label}</name><difficult>{difficult:d}</difficult>'
        xml += f'<bndbox>{"".join(corners)}</bndbox></object>'
    return f'<annotation>{xml}</annotation>'


def make_folder(out_dir: Path, options: str, fill: Callable[[Path], None], parser: argparse.ArgumentParser) -> None:
    """Fill a folder, unless it was filled with the same options before; anything else that is there is an error."""
    stamp = out_dir / 'make_shapes.txt'
    if stamp.exists() and stamp.read_text() == options:
        print(f'{out_dir} is there already, drawn with {options}')
        return
    if out_dir.exists() or out_dir.is_symlink():
        parser.error(f'{out_dir} is there, and was not drawn with {options}; it is left as it is: give a new folder')
    # drawn beside, under a name that nobody has, and moved at the end: what stands in out_dir is whole
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'{out_dir.name}.', suffix='.part', dir=out_dir.parent) as beside:
        part = Path(beside, out_dir.name)
        part.mkdir()
        fill(part)
        (part / stamp.name).write_text(options)
        part.rename(out_dir)
    print(f'{len([*out_dir.rglob("*.jpg")])} images in {out_dir}')


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument('out_dir', type=Path, help='folder to make; left alone if it is there')
    parser.add_argument('--train', type=at_least(1), default=600, help='training images')
    parser.add_argument('--val', type=at_least(1), default=150, help='validation images')
    parser.add_argument('--size', type=at_least(32), default=256, help='side of an image in pixels')
    parser.add_argument('--lookalikes', type=at_least(0), default=8, help='most hard negatives per image')
    parser.add_argument('--seed', type=at_least(0), default=0, help='of everything drawn')
    args = parser.parse_args()
    options = ' '.join(f'--{key} {value}' for key, value in vars(args).items() if key != 'out_dir')
    names = [f'{i:06d}' for i in range(args.train + args.val)]

    def fill(folder: Path) -> None:
        images, annotations, lists = (folder / name for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'))
        for part in (images, annotations, lists):
            part.mkdir(parents=True)
        for name in tqdm(names, 'drawing', unit='image'):
            image, objects = draw_image(args.size, args.lookalikes, np.random.default_rng([args.seed, int(name)]))
            cv2.imwrite(str(images / f'{name}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
            (annotations / f'{name}.xml').write_text(annotation(name, args.size, objects))
        for split, of_split in (('train', names[: args.train]), ('val', names[args.train :])):
            (lists / f'{split}.txt').write_text('\n'.join(of_split) + '\n')

    make_folder(args.out_dir, options, fill, parser)


if __name__ == '__main__':
    main()
