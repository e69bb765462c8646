import copy
import difflib
import re
from typing import Optional

import torch
from mmdet import registry as mmdet_registry
from mmdet.registry import DATASETS, MODELS
from mmdet.utils import register_all_modules
from mmengine import registry as mmengine_registry
from mmengine.registry import Registry
from mmengine.utils import import_modules_from_strings

from ..utils import read_checkpoint
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
    if run.checkpoint is None and len(DATASETS.build(cfg.train_dataloader.dataset)) == 0:
        raise ValueError('train_dataloader.dataset has no pictures; check its ann_file, classes and filter_cfg')
    test_set = DATASETS.build(cfg.test_dataloader.dataset)
    if 'bboxes' not in test_set[0]['data_samples'].gt_instances:
        raise ValueError(
            "test_dataloader gives no objects to measure by; put dict(type='LoadAnnotations', with_bbox=True) into its "
            'pipeline, after Resize'
        )
    model = MODELS.build(cfg.model)
    if run.checkpoint is not None:
        _check_checkpoint(model, str(run.checkpoint))
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


def _check_checkpoint(model: torch.nn.Module, path: str) -> None:
    """Load the weights as MMDetection does, which renames those of an RPN inside a two-stage detector."""
    weights = read_checkpoint(path)
    weights = weights.get('state_dict', weights)
    try:
        missing, _ = model.load_state_dict(dict(weights), strict=False)
    except RuntimeError as error:  # of another shape
        missing = [' '.join(str(error).split()[:40])]
    # an nRPN that the checkpoint lacks makes no difference to what is measured
    missing = [key for key in missing if 'nrpn_head' not in key]
    if missing:
        raise ValueError(
            f'{path} is of another model: {len(missing)} of its weights are missing or of another shape, such as '
            f'{missing[0]}; give the checkpoint that was trained with this config'
        )


def _explain(error: Exception) -> str:
    """One line for an exception; for the registry's and the file system's with what to do."""
    text = ' '.join(str(error).split())
    missing = re.search(r'(\w+) is not in the .+? registry', text)
    if missing:
        return _not_registered(missing[1])
    if isinstance(error, FileNotFoundError):
        return f'{error.filename or text} is not there; check data_root and ann_file, or the variable that sets them'
    return f'{type(error).__name__}: {text}'
