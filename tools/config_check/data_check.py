"""What is wrong with a data set, in one line that names the key, the file and the remedy."""

from collections import Counter
from typing import Dict, List, Optional, Sequence, Tuple

from mmdet.datasets import CocoDataset, XMLDataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from . import annotations, written_objects
from .image_check import Size, check_images, is_local
from .load_check import Loaded, load_annotations, reads_as, xml_files
from .remarks import remark
from .written_objects import MANY, Written


def build_checked(cfg: dict, key: str) -> Dataset:
    """Build a data set, also one in wrappers such as RepeatDataset, and look at its annotations, classes and images.

    What may be meant, such as objects of a class that is not trained, is told on stderr.

    Args:
        cfg (dict): Its config.
        key (str): Where the config stands, such as 'train_dataloader.dataset'.

    Returns:
        Dataset: What the config describes, with ``label_names``: the class of each label, by annotation file.

    Raises:
        ValueError: If nothing could be trained or measured on it, or an image or an annotation file is broken.
    """
    found = Found()
    dataset = _build(cfg, key, found)
    if len(dataset) == 0:
        raise ValueError(f'{key} has no images; check its ann_file')
    if isinstance(_first_leaf(dataset), BaseDataset):
        if not found.counts:
            raise ValueError(f'{key} has no objects: its annotations name none; check its ann_file')
        found.tell_of_none(dataset.metainfo.get('classes') or (), key)
    dataset.label_names = found.label_names
    return dataset


class Found:
    """What was found in all parts of a data set.

    Attributes:
        counts (Counter): Of objects that count, by their class.
        written (list[Written]): All that stand in files in VOC's or COCO's format.
        label_names (dict[str, tuple[str, ...]]): The class of each label, by annotation file.
    """

    def __init__(self) -> None:
        self.counts: Counter = Counter()
        self.written: List[Written] = []
        self.label_names: Dict[str, Tuple[str, ...]] = {}

    def tell_of_none(self, classes: Sequence[str], key: str) -> None:
        """Remark on classes of which no object counts."""
        unseen = [name for name in classes if name not in self.counts]
        for name in [*unseen]:
            if items := [item for item in self.written if item.name == name]:
                unseen.remove(name)
                remark(f'{key} has no object of {name!r} that counts: {written_objects.why_none(items)}')
        if unseen:
            others = sorted({str(item.name) for item in self.written} - set(classes))
            hint = f' of {others}, which its annotations have' if others else ''
            remark(f'{key} has no object of {unseen}; if it should, check the spelling{hint}')


def _first_leaf(dataset: Dataset) -> Dataset:
    while hasattr(dataset, 'dataset') or hasattr(dataset, 'datasets'):
        dataset = dataset.dataset if hasattr(dataset, 'dataset') else dataset.datasets[0]
    return dataset


def _build(cfg: dict, key: str, found: Found) -> Dataset:
    parts = {f'{key}.dataset': cfg['dataset']} if 'dataset' in cfg else {}
    parts.update({f'{key}.datasets[{i}]': part for i, part in enumerate(cfg.get('datasets', ()))})
    for part_key, part in parts.items():
        _build(part, part_key, found)
    if parts:
        return DATASETS.build(cfg)
    kind = DATASETS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if kind is None or not issubclass(kind, BaseDataset):
        return DATASETS.build(cfg)
    dataset = DATASETS.build(dict(cfg, lazy_init=True))
    _check_classes(dataset, key)
    loaded = load_annotations(dataset, key)
    _check_objects(dataset, loaded, key, found)
    sizes = check_images(dataset, loaded.infos, key)
    _check_filter(dataset, loaded.infos, sizes, key)
    dataset.load_data_list = lambda: loaded.infos  # once is enough
    try:
        dataset.full_init()
    except IndexError as error:  # of images by number
        raise ValueError(f'{key}.indices goes beyond its {len(dataset.data_list)} images') from error
    dataset[0]  # its pipeline works
    return dataset


def _check_classes(dataset: BaseDataset, key: str) -> None:
    classes, is_voc = dataset.metainfo.get('classes'), isinstance(dataset, XMLDataset)
    said = f'{key}.metainfo.classes={classes!r}'
    if 'CLASSES' in dataset.metainfo:
        raise ValueError(f'{key}.metainfo has CLASSES, which MMDetection 3 calls classes; write classes=...')
    if isinstance(classes, str):
        raise ValueError(f"{said} is no tuple; write classes=('{classes}',)")
    if isinstance(classes, (set, frozenset)):
        raise ValueError(f'{said} has no order, and labels need one; write classes={tuple(sorted(classes, key=str))}')
    if is_voc and not classes:
        raise ValueError(f"{said} names none; write metainfo=dict(classes=('cat', 'dog')) with your classes")
    if not all(str(name).strip() for name in classes or ()):
        raise ValueError(f'{said} has an empty name; take it out')
    if twice := annotations.repeated(classes or ()):
        raise ValueError(f'{said} has {twice} more than once; take the others out')


def _check_objects(dataset: BaseDataset, loaded: Loaded, key: str, found: Found) -> None:
    """Objects, their classes and boxes, as MMDetection takes them and as they are written."""
    classes = tuple(dataset.metainfo.get('classes') or ())
    names, written, where = classes, [], str(dataset.ann_file)
    if reads_as(dataset, XMLDataset) and is_local(dataset.ann_file, dataset.backend_args):
        files = xml_files(dataset)
        where, written = str(files[0].parent), written_objects.of_xml(files, classes)
        fault = written_objects.not_corners_fault
    elif loaded.content is not None:
        _check_categories(loaded.content, classes, where, key)
        names, written = _label_names(dataset, loaded.content), written_objects.of_coco(loaded.content, where)
        fault = written_objects.corners_fault
    counts = _count(loaded.infos, names)
    found.counts.update(counts)
    found.label_names[str(dataset.ann_file)] = names
    found.written += written
    ours = [item for item in written if item.name in (classes or names)]
    if written and not counts:
        raise ValueError(f'{key}: {_why_no_object(written, ours, classes, where, loaded.content)}')
    if written and (wrong := fault(ours)):
        raise ValueError(f'{key}: {where}: {wrong}')
    for text in [written_objects.other_names(written, classes or names), *written_objects.broken(ours)]:
        if text:
            remark(f'{key}: {text}')


def _check_categories(content: dict, classes: Sequence[str], where: str, key: str) -> None:
    known = [category.get('name') for category in content['categories']]
    if unknown := [name for name in classes if name not in known]:
        # MMDetection numbers the classes that are left, so that labels of the others are wrong, too
        raise ValueError(
            f'{key}: metainfo.classes has {unknown}, which is none of the categories in {where}: '
            f'{sorted(map(str, known))}; write the names as they stand there'
        )
    if fault := annotations.category_fault(content, classes) or annotations.coco_meaning_fault(content):
        raise ValueError(f'{key}: {where} {fault}')


def _label_names(dataset: CocoDataset, content: dict) -> Tuple[str, ...]:
    """A label is the number of a category among the file's, in their order there."""
    names = {category['id']: category.get('name') for category in content['categories']}
    return tuple(names[number] for number in dataset.cat_ids)


def _count(infos: List[dict], names: Sequence[str]) -> Counter:
    """How many objects there are of each class, without ignored ones and those whose box has no area."""
    counts: Counter = Counter()
    for frame in (frame for info in infos for frame in info.get('images', [info])):  # a video has several
        for instance in frame.get('instances', ()):
            x1, y1, x2, y2 = instance['bbox']
            # boxes in fractions of the image may be rounded to one pixel in its corner
            if not instance.get('ignore_flag') and x2 > x1 and y2 > y1 and max(x2, y2) > 2:
                label = instance['bbox_label']
                counts[names[label] if label < len(names) else label] += 1
    return counts


def _why_no_object(
    written: List[Written], ours: List[Written], classes: Sequence[str], where: str, content: Optional[dict]
) -> str:
    if fault := content and annotations.image_ids_fault(content):
        return f'{where} has no object to use: {fault}'
    if ours:
        return f'{where} has no object to use of classes={tuple(classes)}: {written_objects.why_none(ours)}'
    known = sorted({str(item.name) for item in written})
    return (
        f'metainfo.classes={tuple(classes)}, and the objects in {where} are called {known}; write the names as they '
        'stand there'
    )


def _check_filter(dataset: BaseDataset, infos: List[dict], sizes: Dict[str, Size], key: str) -> None:
    """How many images are left, and whether the others are left out for what they are."""
    dataset.data_list = infos
    left, least = len(dataset.filter_data()), (dataset.filter_cfg or {}).get('min_size', 0)
    small = [info for info in infos if min(info.get('width', least), info.get('height', least)) < least]
    if left == len(infos):
        return
    reasons = []
    if small:
        size, file = f'{small[0]["width"]} x {small[0]["height"]}', small[0].get('xml_path', dataset.ann_file)
        reasons.append(f'{len(small)} are smaller than min_size ({small[0].get("img_path")} is {size} in {file})')
    if len(small) < len(infos) - left:
        reasons.append(f'{len(infos) - left - len(small)} have no objects')
    said = f'{key}.filter_cfg={dataset.filter_cfg} leaves {left or "none"} of {len(infos)} images: {", ".join(reasons)}'
    misread = [info for info in small if min(sizes.get(info.get('img_path'), (0, 0))) >= least]
    if misread:
        said = f'{said}; {len(misread)} of the images are not: write their sizes into the annotations'
    if len(misread) >= MANY * len(infos):
        raise ValueError(said)
    if not left:
        raise ValueError(
            f'{said}; {"make min_size smaller" if small else "check ann_file, or set filter_empty_gt=False"}'
        )
    remark(said)
