import copy
import difflib
import re
import sys
from pathlib import Path
from typing import Optional

from mmdet import registry as mmdet_registry
from mmdet.registry import DATASETS, MODELS
from mmdet.utils import register_all_modules
from mmengine import registry as mmengine_registry
from mmengine.registry import Registry
from mmengine.utils import import_modules_from_strings
from torch.utils.data import Dataset

from ..utils import load_weights, read_checkpoint
from .runs import Run


def check(run: Run) -> Optional[str]:
    """Find out before any training whether a run can start: build its model and data sets, look at its checkpoint.

    Returns:
        str or None: One line that names the config, what is wrong and what to do; None if nothing is.
    """
    try:
        _check(run)
    except Exception as error:  # whatever a user's config brings up is told, not raised
        return f'{run.source}: {_explain(error)}'
    return None


def _check(run: Run) -> None:
    cfg = copy.deepcopy(run.cfg)  # building a model writes into its config
    register_all_modules(init_default_scope=True)
    import_modules_from_strings(**cfg.custom_imports)
    _check_types(cfg.to_dict())
    if run.checkpoint is None:
        train_set = DATASETS.build(cfg.train_dataloader.dataset)
        if len(train_set) == 0:
            raise ValueError('train_dataloader.dataset has no pictures; check its ann_file, classes and filter_cfg')
        train_set[0]  # its file is there
        _check_objects(run.source, train_set)
    test_set = DATASETS.build(cfg.test_dataloader.dataset)
    if 'bboxes' not in test_set[0]['data_samples'].gt_instances:
        raise ValueError(
            "test_dataloader gives no objects to measure by; put dict(type='LoadAnnotations', with_bbox=True) into its "
            'pipeline, after Resize'
        )
    model = MODELS.build(cfg.model)
    if run.checkpoint is not None:
        load_weights(model, run.checkpoint)
    elif '://' not in (cfg.get('load_from') or '://'):
        read_checkpoint(cfg.load_from)


def _check_types(node: object) -> None:
    """Look for a ``type`` that nothing is registered under but that looks much like one that something is."""
    if isinstance(node, (list, tuple)):
        for value in node:
            _check_types(value)
    elif isinstance(node, dict):
        for value in node.values():
            _check_types(value)
        name = node.get('type')
        # functions, such as nms, are named by type, too; they look like no registered class
        if isinstance(name, str) and '.' not in name and name not in _registered() and _similar(name):
            raise ValueError(_not_registered(name))


def _registered() -> set:
    registries = [value for module in (mmdet_registry, mmengine_registry) for value in vars(module).values()]
    return {name for registry in registries if isinstance(registry, Registry) for name in registry.module_dict}


def _similar(name: str) -> list:
    return difflib.get_close_matches(name, _registered(), n=1, cutoff=0.8)


def _not_registered(name: str) -> str:
    return f"type='{name}' is not registered" + ''.join(f"; did you mean '{close}'?" for close in _similar(name))


def _check_objects(config: Path, train_set: Dataset) -> None:
    """Objects whose names are not among the classes are passed over in silence, by VOC's and COCO's data sets alike."""
    if not hasattr(train_set, 'get_cat_ids'):
        return
    classes, seen = train_set.metainfo.get('classes', ()), set()
    for index in range(len(train_set)):
        seen.update(train_set.get_cat_ids(index))
        if len(seen) >= len(classes):
            return
    if not seen:
        raise ValueError(
            f'train_dataloader has no object of classes={classes}; write the names as annotations have them'
        )
    unseen = [name for label, name in enumerate(classes) if label not in seen]
    print(f'{config}: train_dataloader has no object of {unseen}; if it should, check the spelling', file=sys.stderr)


def _explain(error: Exception) -> str:
    """One line for an exception; for the registry's and the file system's with what to do."""
    text = ' '.join(str(error).split())
    missing = re.search(r'(\w+) is not in the .+? registry', text)
    if missing:
        return _not_registered(missing[1])
    if isinstance(error, FileNotFoundError):
        return f'{error.filename or text} is not there; check data_root, ann_file, data_prefix or what sets them'
    return f'{type(error).__name__}: {text}'
