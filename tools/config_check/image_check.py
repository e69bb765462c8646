"""Whether a data set's images are there, can be read, and have the size that its annotations say."""

from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np
import pandas as pd
from mmengine.dataset import BaseDataset
from PIL import Image

from .explain import named
from .objects import MANY


def is_local(path: str, backend_args: Optional[dict]) -> bool:
    """Whether a file lies where its path leads, and not in another storage."""
    return '://' not in path and (backend_args or {}).get('backend', 'local') == 'local'


def image_size(path: str, turns: bool = True) -> Optional[Tuple[int, int]]:
    """Width and height of a local image, None if it seems to be broken.

    It looks at the header, a PNG's checksums and a JPEG's end, which takes a tenth of decoding it. ``turns`` is whether
    an image is turned by its EXIF orientation when it is read.
    """
    try:
        with Image.open(path) as image, open(path, 'rb') as file:
            is_turned = turns and image.format in ('JPEG', 'MPO') and image.getexif().get(0x0112, 1) >= 5
            size = image.size[::-1] if is_turned else image.size
            image.verify()
            file.seek(-2, 2)
            return size if image.format != 'JPEG' or file.read() == b'\xff\xd9' else None
    except Exception:
        return None


def check_images(dataset: BaseDataset, infos: List[dict]) -> Iterator[str]:
    """Look at the header of each image, or read some where they are on a remote storage.

    ``infos`` is what the annotations say of each. A ValueError tells which cannot be read, or that sizes are not those
    of the images; what may be meant is yielded.
    """
    infos = [info for info in infos if isinstance(info.get('img_path'), str)]  # not those of videos
    yield from _listed_twice(dataset, infos)
    paths = {info['img_path']: info for info in infos}
    loader = (dataset.pipeline.transforms or [dataset])[0]  # it has a storage of its own
    if all(is_local(path, getattr(loader, 'backend_args', None)) for path in [*paths][:1]):
        turns = getattr(loader, 'color_type', 'color') in ('color', 'grayscale')
        with ThreadPoolExecutor(4) as threads:
            sizes = dict(zip(paths, threads.map(lambda path: image_size(path, turns), paths)))
        suspected = [path for path, size in sizes.items() if size is None]
    else:
        sizes, suspected = {}, [*paths][:: max(1, len(paths) // 8)]
    for path in suspected:
        with named(
            f'{path} cannot be read as an image; replace it, take it out of {dataset.ann_file}, or check data_root and '
            f'backend_args ({len(suspected)} of {len(paths)} images are suspected)'
        ):
            if any(step(dict(paths[path])) is None for step in dataset.pipeline.transforms[:1]):
                raise ValueError('it is no image')
    yield from _other_sizes(dataset, infos, sizes)


def _listed_twice(dataset: BaseDataset, infos: List[dict]) -> Iterator[str]:
    ids, paths = (pd.Series([info.get(name) for info in infos], dtype=object) for name in ('img_id', 'img_path'))
    for value in ids[ids.duplicated() & ids.notna() & dataset.test_mode]:  # proposals are compared image by image
        raise ValueError(f'{dataset.ann_file} lists {value} again; measure an image once: take the others out')
    for value in paths[paths.duplicated()].head(1):
        yield f'{dataset.ann_file} lists {value} again; unless you want to train on it more often, take the others out'


def _other_sizes(dataset: BaseDataset, infos: List[dict], sizes: Dict[str, Tuple[int, int]]) -> Iterator[str]:
    """Boxes that fit the size that the annotations say, and not the image, were drawn on an image of another size."""
    infos = [info for info in infos if sizes.get(info['img_path']) and info.get('width') is not None]
    said = np.array([(info['width'], info['height']) for info in infos]).reshape(-1, 2)
    read = np.array([sizes[info['img_path']] for info in infos]).reshape(-1, 2)
    ends = [[item['bbox'][2:] for item in info.get('instances', ())] for info in infos]
    corners = np.array([np.max(end or [(0, 0)], axis=0) for end in ends]).reshape(-1, 2)
    others = (said != read).any(axis=1)
    if not others.any():
        return
    least = max(1, (dataset.filter_cfg or {}).get('min_size', 1))
    wrong = others & (corners <= said + 2).all(axis=1) & (corners > read + 2).any(axis=1)
    wrong |= (said < least).any(axis=1) & (read >= least).all(axis=1)
    first = np.flatnonzero(wrong if wrong.any() else others)[0]
    text = (
        f'{others.sum()} of {len(infos)} images have another size (width and height) than their annotations say: '
        f'{infos[first]["img_path"]} is read as {read[first].tolist()}, and not {said[first].tolist()}; look whether '
        'boxes fit, and write sizes and boxes of the images as they are read, or resize the images (EXIF turns some)'
    )
    if wrong.mean() >= MANY:
        raise ValueError(text)
    yield text
