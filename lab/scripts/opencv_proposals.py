"""Region proposals of OpenCV's contrib modules, for images on a list: Selective Search (fast) and BING.

    python -m venv .venv-contrib
    .venv-contrib/bin/pip install opencv-contrib-python-headless==4.12.0.88 rich
    .venv-contrib/bin/python lab/scripts/opencv_proposals.py selective-search IMAGES LIST OUT --size 320
    .venv-contrib/bin/python lab/scripts/opencv_proposals.py bing IMAGES LIST OUT --files TRAINED > /dev/null

IMAGES is a folder of .jpg, and LIST a file with their names. OUT gets a file per image with all boxes in OpenCV's
order, (N, 4): first and last column and row, as MMDetection reads VOC's. Images that have one are left out, so the
same command goes on where it stopped. An environment of its own, because OpenCV's packages overwrite each other.

BING's trained files are in the source distribution of that package (pip download --no-binary), in
opencv_contrib/modules/saliency/samples/ObjectnessTrainedModel.
"""

import argparse
import ctypes
import functools
import os
import tempfile
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

SEED = 0
LAST = np.array([0, 0, 1, 1])  # from a last column and row to where they end


def selective_search(image: np.ndarray) -> np.ndarray:
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(image)
    search.switchToSelectiveSearchFast()
    ctypes.CDLL(None).srand(SEED)  # the ranks are from C's rand(), which cv2.setRNGSeed does not seed
    x, y, width, height = search.process().T
    return np.stack([x, y, x + width - 1, y + height - 1], axis=1)


def bing(image: np.ndarray, model: 'cv2.saliency.ObjectnessBING') -> np.ndarray:
    return model.computeSaliency(image)[1].reshape(-1, 4) - 1  # it counts from 1, as VOC does


def bing_model(files: Path, scratch: Path) -> 'cv2.saliency.ObjectnessBING':
    """With the files of one colour space. OpenCV has three, and of all that are there it joins the lists of boxes."""
    for file in files.glob('*MAXBGR*'):
        (scratch / file.name).symlink_to(file.resolve())
    cv2.setLogLevel(0)  # nothing of the missing colour spaces with each image
    model = cv2.saliency.ObjectnessBING_create()
    model.setTrainingPath(str(scratch))
    model.setBBResDir(str(scratch))  # where it writes a list of each image's boxes
    return model


def propose(method: Callable[[np.ndarray], np.ndarray], size: int | None, images: Path, names: list, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    todo = [name for name in names if not (out / f'{name}.npy').exists()]
    for name in track(todo, f'{len(todo)} of {len(names)} images', console=Console(stderr=True)):
        image = cv2.imread(str(images / f'{name}.jpg'))
        scale = size / max(image.shape) if size else 1
        boxes = method(cv2.resize(image, None, fx=scale, fy=scale))
        np.save(out / 'part.npy', ((boxes + LAST) / scale - LAST).astype(np.float32))
        os.replace(out / 'part.npy', out / f'{name}.npy')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('method', choices=('selective-search', 'bing'))
    parser.add_argument('images', type=Path)
    parser.add_argument('list', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--size', type=int, help='longer side to resize images to; boxes are those of the original')
    parser.add_argument('--files', type=Path, help="the folder of BING's trained files")
    args = parser.parse_args()
    if (args.method == 'bing') != (args.files is not None):
        parser.error('bing needs --files, and no other method has them')
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        method = selective_search
        if args.files:
            method = functools.partial(bing, model=bing_model(args.files, Path(scratch)))
        propose(method, args.size, args.images, args.list.read_text().split(), args.out)


if __name__ == '__main__':
    main()
