import copy
import difflib
import re
from typing import Optional

import torch
from mmdet.registry import DATASETS, MODELS, TASK_UTILS, TRANSFORMS
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmengine.utils import import_modules_from_strings

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
    init_default_scope('mmdet')
    import_modules_from_strings(**cfg.custom_imports)
    for key in ('train_dataloader', 'test_dataloader'):
        if len(DATASETS.build(cfg[key].dataset)) == 0:
            raise ValueError(f'{key}.dataset has no pictures; check its ann_file, classes and filter_cfg')
    model = MODELS.build(cfg.model)
    checkpoint = run.checkpoint or cfg.get('load_from')
    if checkpoint is not None:
        _check_checkpoint(model, str(checkpoint))


def _check_checkpoint(model: torch.nn.Module, path: str) -> None:
    weights = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    weights = weights.get('state_dict', weights)
    # an nRPN that the checkpoint lacks starts anew; measuring does not use it
    own = {key: value.shape for key, value in model.state_dict().items() if 'nrpn_head' not in key}
    other = [key for key, shape in own.items() if getattr(weights.get(key), 'shape', None) != shape]
    if other:
        raise ValueError(
            f'{path} is of another model: {len(other)} of {len(own)} weights are missing or of another shape, such as '
            f'{other[0]}; give the checkpoint that was trained with this config'
        )


def _explain(error: Exception) -> str:
    """One line for an exception; for the registry's and the file system's with what to do."""
    text = ' '.join(str(error).split())
    missing = re.search(r'(\w+) is not in the .+? registry', text)
    if missing:
        name = missing[1]
        known = [key for registry in (MODELS, DATASETS, TASK_UTILS, TRANSFORMS) for key in registry.module_dict]
        close = difflib.get_close_matches(name, known, n=1)
        return f"type='{name}' is not registered" + (f"; did you mean '{close[0]}'?" if close else '')
    if isinstance(error, FileNotFoundError):
        return f'{error.filename or text} is not there; check data_root and ann_file, or the variable that sets them'
    return f'{type(error).__name__}: {text}'
