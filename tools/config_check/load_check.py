"""Load a data set's annotations, or tell which file or key keeps MMDetection from it."""

from pathlib import Path
from typing import List, NamedTuple, Optional

from mmdet.datasets import CocoDataset, XMLDataset
from mmengine.dataset import BaseDataset
from mmengine.fileio import list_from_file

from . import annotations
from .image_check import look, remedy


class Loaded(NamedTuple):
    """What the annotations say."""

    infos: List[dict]  # of every image, before any is filtered out
    content: Optional[dict] = None  # of a file in COCO's format


def load_annotations(dataset: BaseDataset, key: str) -> Loaded:
    """Load annotations.

    Args:
        dataset (BaseDataset): Built with ``lazy_init``.
        key (str): Where its config stands.

    Returns:
        Loaded: What they say.

    Raises:
        ValueError: If they cannot be loaded, or say nothing.
    """
    kept = []
    if reads_as(dataset, CocoDataset):  # it drops the file's content, which need not be read twice
        read = dataset.COCOAPI
        dataset.COCOAPI = lambda path: kept.append(read(path)) or kept[-1]
    try:
        infos = dataset.load_data_list()
    except Exception as error:
        raise ValueError(f'{key}: {_broken_annotations(dataset) or _one_line(dataset, error)}') from error
    finally:
        vars(dataset).pop('COCOAPI', None)
    if not infos:
        raise ValueError(f'{key}.ann_file={dataset.ann_file} lists no images')
    return Loaded(infos, kept[0].dataset if kept else None)


def reads_as(dataset: BaseDataset, kind: type) -> bool:
    """Whether its files are VOC's or COCO's as they are, unlike those of some data sets that inherit from these."""
    return isinstance(dataset, kind) and type(dataset).load_data_list is kind.load_data_list


def xml_files(dataset: XMLDataset) -> List[Path]:
    return [_xml_file(dataset, name) for name in list_from_file(dataset.ann_file, backend_args=dataset.backend_args)]


def _xml_file(dataset: XMLDataset, name: str) -> Path:
    return Path(dataset.sub_data_root, dataset.ann_subdir, f'{name}.xml')


def _one_line(dataset: BaseDataset, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        file = Path(error.filename or dataset.ann_file)
        if Path(dataset.ann_file) == file:
            return f'{file} {annotations.absence(file)}; check data_root, ann_file or what sets them'
        return f'{file} {annotations.absence(file)}; {remedy(dataset, file, is_missing=True)}'
    text = f'{type(error).__name__}: {" ".join(str(error).split())}'
    if isinstance(dataset, CocoDataset) and 'img' not in dataset.data_prefix:
        return f"data_prefix={dataset.data_prefix} has no 'img'; write data_prefix=dict(img='train/'), say"
    return f'{dataset.ann_file} cannot be read ({text}); mend it'


def _broken_annotations(dataset: BaseDataset) -> Optional[str]:
    path = Path(dataset.ann_file)
    if not path.is_file():
        return None
    if reads_as(dataset, XMLDataset):
        return _broken_voc(dataset, path)
    if reads_as(dataset, CocoDataset):
        fault = annotations.coco_fault(path)
        return fault and f'{path} {fault}'
    return None


def _broken_voc(dataset: XMLDataset, path: Path) -> Optional[str]:
    fault = annotations.text_fault(path)
    names = [] if fault else list_from_file(path)
    fault = fault or annotations.list_fault((name, _xml_file(dataset, name).is_file()) for name in names)
    if fault:
        return f'{path} {fault}'
    for name in names:
        file, image = _xml_file(dataset, name), Path(dataset.sub_data_root, dataset.img_subdir, f'{name}.jpg')
        if fault := annotations.xml_fault(file):
            return f'{file} {fault}; mend it, or take it out of {path}'
        # without a size in the file MMDetection looks for it in the image
        if not annotations.has_size(file) and image.is_file() and not look(str(image)).is_whole:
            return f'{image} cannot be read as an image; replace it, or take it out of {path}'
    return None
