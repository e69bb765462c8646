"""Whether a data set's images are there, can be read, and have the size that its annotations say."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from mmdet.datasets import XMLDataset
from mmengine.dataset import BaseDataset
from mmengine.fileio import LocalBackend, get_file_backend
from PIL import Image

from .annotations import absence, namesakes
from .remarks import remark
from .written_objects import MANY

REMOTE = 8  # so many images of a remote storage are read
Size = Tuple[int, int]  # width, height


class Look(NamedTuple):
    """What an image's header says."""

    is_whole: bool
    size: Optional[Size] = None
    is_turned: bool = False  # by its EXIF orientation, from upright to lying or back


def check_images(dataset: BaseDataset, infos: List[dict], key: str) -> Dict[str, Size]:
    """Look at the header of each image, or read some where they are on a remote storage.

    Args:
        dataset (BaseDataset): Whose pipeline begins with loading an image.
        infos (list[dict]): What its annotations say of each image.
        key (str): Where its config stands.

    Returns:
        dict[str, tuple[int, int]]: Width and height of local images as they are read, by their path.

    Raises:
        ValueError: If an image cannot be read.
    """
    infos_of = {info['img_path']: info for info in infos if isinstance(info.get('img_path'), str)}
    _check_once_each(dataset, infos, key)
    loader = (dataset.pipeline.transforms or [dataset])[0]  # it has a storage of its own
    if not all(is_local(path, getattr(loader, 'backend_args', None)) for path in list(infos_of)[:1]):
        for path in list(infos_of)[:: max(1, len(infos_of) // REMOTE)]:
            if said := _unread(dataset, infos_of[path]):
                raise ValueError(
                    f'{key}: {path} cannot be read ({said}); check data_root, data_prefix and backend_args'
                )
        return {}
    with ThreadPoolExecutor(4) as threads:
        looks = dict(zip(infos_of, threads.map(look, infos_of)))
    suspected = [path for path, look in looks.items() if not look.is_whole]
    missing = [path for path in suspected if absence(Path(path))]
    broken = [path for path in suspected if path not in missing and _unread(dataset, infos_of[path])]
    if wrong := missing or broken:
        what = absence(Path(wrong[0])) or 'cannot be read as an image'
        more = f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''
        raise ValueError(f'{key}: {wrong[0]} {what}{more}; {remedy(dataset, Path(wrong[0]), bool(missing))}')
    sizes = _sizes(dataset, infos_of, looks)
    _compare_sizes(infos_of, sizes, key)
    return sizes


def is_local(path: str, backend_args: Optional[dict]) -> bool:
    """Whether a file lies where paths lead; one of an unknown storage does not."""
    try:
        return isinstance(get_file_backend(path, backend_args=backend_args), LocalBackend)
    except Exception:  # each storage has its own
        return False


def _check_once_each(dataset: BaseDataset, infos: List[dict], key: str) -> None:
    for name in ('img_id', 'img_path'):
        counts = Counter(info[name] for info in infos if isinstance(info.get(name), (int, str)))
        value, count = next(iter(counts.most_common(1)), (None, 0))
        if count > 1:
            said = f'{key}: {dataset.ann_file} lists {value} {count} times'
            if name == 'img_id' and dataset.test_mode:  # proposals are compared image by image
                raise ValueError(f'{said}; measure an image once: take the others out')
            remark(f'{said}; unless you want to train on it more often, take the others out')
            return


def remedy(dataset: BaseDataset, path: Path, is_missing: bool) -> str:
    """What to do about an image that is not there or cannot be read."""
    others = [other for other in namesakes(path) if other != path.name]
    if not is_missing:
        return f'replace it, or take it out of {dataset.ann_file}'
    if ' a link to ' in (absence(path) or ''):
        return 'mend the link'
    if not others:
        return 'check data_root, ann_file, data_prefix or what sets them'
    if not isinstance(dataset, XMLDataset):
        return f'{others[0]} is: write this name into {dataset.ann_file}, or rename the image'
    is_jpeg = Path(others[0]).suffix.lower() in ('.jpg', '.jpeg')
    reads = f'{others[0]} is, but {type(dataset).__name__} reads {path.name if is_jpeg else ".jpg"} alone'
    return f'{reads}: {"rename" if is_jpeg else "convert"} the images'


def look(path: str) -> Look:
    """Look at an image's header, a PNG's checksums and a JPEG's end, which takes a tenth of decoding it."""
    try:
        with Image.open(path) as image:
            is_jpeg = image.format in ('JPEG', 'MPO')
            is_turned = is_jpeg and image.getexif().get(0x0112, 1) >= 5
            size = image.size
            image.verify()
        with open(path, 'rb') as file:
            file.seek(-2, 2)
            return Look(image.format != 'JPEG' or file.read() == b'\xff\xd9', size, is_turned)
    except Exception:
        return Look(False)


def _load(dataset: BaseDataset, info: dict) -> Optional[dict]:
    """By the first step of the pipeline, which loads the image."""
    return dataset.pipeline.transforms[0](dict(info)) if dataset.pipeline.transforms else {}


def _unread(dataset: BaseDataset, info: dict) -> Optional[str]:
    """Why the pipeline does not take an image."""
    try:
        return None if _load(dataset, info) is not None else 'no image'
    except Exception as error:
        return f'{type(error).__name__}: {" ".join(str(error).split())}'


def _sizes(dataset: BaseDataset, infos_of: Dict[str, dict], looks: Dict[str, Look]) -> Dict[str, Size]:
    """Sizes as the pipeline loads the images: whether it turns by EXIF is seen on one that tells."""
    # ori_shape is height and width
    turning = next((path for path, look in looks.items() if look.is_turned and look.size[0] != look.size[1]), None)
    turns = turning is not None and (_load(dataset, infos_of[turning]) or {}).get('ori_shape') == looks[turning].size
    return {
        path: look.size[::-1] if turns and look.is_turned else look.size for path, look in looks.items() if look.size
    }


def _compare_sizes(infos_of: Dict[str, dict], sizes: Dict[str, Size], key: str) -> None:
    """Boxes that fit the size that the annotations say, and not the image, were drawn on an image of another size."""
    said = {path: (info.get('width'), info.get('height')) for path, info in infos_of.items() if path in sizes}
    others = [path for path, size in said.items() if None not in size and size != sizes[path]]
    wrong = [path for path in others if _fit(infos_of[path], said[path]) and not _fit(infos_of[path], sizes[path])]
    if not others:
        return
    first = (wrong or others)[0]
    fault = (
        f'{key}: {len(others)} of {len(said)} images have another size than their annotations say: {first} is read as '
        f'{_by(sizes[first])}, and not {_by(said[first])}'
    )
    remedy = 'write sizes and boxes of the images as they are read, or turn and resize the images (EXIF turns some)'
    if len(wrong) >= MANY * len(said):
        raise ValueError(f'{fault}, and boxes of {len(wrong)} reach beyond them; {remedy}')
    remark(f'{fault}; look whether their boxes fit, and {remedy}')


def _fit(info: dict, size: Size) -> bool:
    boxes = [item['bbox'] for item in info.get('instances', ())]
    return all(box[2] <= size[0] + 2 and box[3] <= size[1] + 2 for box in boxes)


def _by(size: Size) -> str:
    return f'{size[0]} x {size[1]}'
