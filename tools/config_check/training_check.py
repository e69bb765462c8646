"""What a training is built of beside model and data: its hooks and the like, its weights, and what it saves."""

import copy
import inspect
import urllib.request
from pathlib import Path
from typing import Any, Iterator, Tuple
from urllib.parse import urlparse

import torch
from mmdet.registry import HOOKS, LOG_PROCESSORS, LOOPS, PARAM_SCHEDULERS, VISBACKENDS, VISUALIZERS
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner, checkpoint

from mmdet_nrpn.utils import read_checkpoint

from .explain import absence, named

PARTS = ('default_hooks', 'custom_hooks', 'train_cfg', 'val_cfg', 'log_processor', 'visualizer')
REGISTRIES = (HOOKS, LOOPS, LOG_PROCESSORS, VISUALIZERS, VISBACKENDS)
# MMEngine's short names of addresses
ADDRESSES = {
    'torchvision://': checkpoint.get_torchvision_models,
    'open-mmlab://': checkpoint.get_external_models,
    'openmmlab://': checkpoint.get_external_models,
    'mmcls://': checkpoint.get_mmcls_models,
}


def check_training(cfg: Config, optim_wrapper: OptimWrapper) -> None:
    """Raise a ValueError if a type is not registered, or its setting unknown, or the last step would not be saved."""
    savers = {}
    for key, part in (found for name in PARTS for found in _walk(name, cfg.get(name))):
        # what stands inside a hook may be of no registry, and MMEngine knows other types if none is given
        if isinstance(part, dict) and (key.count('.') == 1 if '_hooks' in key else 'type' in part):
            with named(key):
                kind = _look_up(part, cfg.get('default_scope'))
                settings = {name for name in part if name not in ('type', '_scope_', 'priority')}  # MMEngine's own
                inspect.signature(kind).bind_partial(**dict.fromkeys(settings))
            if inspect.isclass(kind) and issubclass(kind, CheckpointHook):
                savers[key] = part
    schedulers = cfg.get('param_scheduler') or []
    for part in [schedulers] if isinstance(schedulers, dict) else schedulers:
        if not isinstance(optim_wrapper, OptimWrapperDict):
            with named(f'param_scheduler, {dict(part)}'):  # as MMEngine's runner builds it
                part = {'end': _last(cfg, part), **part}
                PARAM_SCHEDULERS.build(part, default_args=dict(optimizer=optim_wrapper, epoch_length=1))
    # MMEngine adds a hook that saves the last step if none is given
    if 'checkpoint' in (cfg.get('default_hooks') or {}) and not any(_saves_last(cfg, hook) for hook in savers.values()):
        raise ValueError(
            f'{" and ".join(savers) or "default_hooks.checkpoint=None"} does not save what is trained last, which is '
            'what is measured; take save_last=False or checkpoint=None out'
        )


def check_evaluator(cfg: Config) -> None:
    """Raise a ValueError if what measures cannot be built, or COCO's could not read its file in the end."""
    with named('val_evaluator'):
        for metric in Runner.build_evaluator(None, copy.deepcopy(cfg.val_evaluator)).metrics:
            file = getattr(getattr(metric, '_coco_api', None), 'dataset', {})
            for item in file.get('annotations', ()):
                if isinstance(item['id'], str) or not isinstance(item.get('iscrowd'), (int, float)):
                    raise ValueError(f'annotation {item["id"]!r} needs a number as id and as iscrowd; write 0, say')


def _walk(key: str, value: Any) -> Iterator[Tuple[str, Any]]:
    """All values in a part of a config, with their keys."""
    yield key, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for name, item in items:
        yield from _walk(f'{key}.{name}', item)


def _look_up(part: dict, scope: str) -> Any:
    kind = part.get('type')
    names = (kind, f'{scope}.{kind}') if isinstance(kind, str) else ()
    kinds = (known.get(name) for name in names for known in REGISTRIES)
    if not (found := kind if callable(kind) else next(filter(None, kinds), None)):
        raise ValueError(f'the type of {dict(part)} is not registered; check its spelling, and custom_imports')
    return found


def _last(cfg: Config, part: dict) -> int:
    """The last epoch or step, whichever a hook or a scheduler counts."""
    return cfg.train_cfg.get('max_epochs' if part.get('by_epoch', True) else 'max_iters') or 10**9


def _saves_last(cfg: Config, hook: dict) -> bool:
    interval, steps = hook.get('interval', -1), _last(cfg, hook) - hook.get('save_begin', 0)
    return hook.get('save_last', True) or (interval > 0 and steps >= 0 and steps % interval == 0)


def check_weights(cfg: Config) -> None:
    """Raise a ValueError, which says where to put them, if weights are neither here nor can be downloaded."""
    if '://' not in (cfg.get('load_from') or '://'):
        with named('load_from'):
            read_checkpoint(cfg.load_from)
    for key, url in (*_walk('model', cfg.model), ('load_from', cfg.get('load_from'))):
        if not isinstance(url, str) or not key.endswith(('.checkpoint', '.pretrained', 'load_from')):
            continue
        with named(f'{key}={url!r}'):
            loader = checkpoint.CheckpointLoader._get_checkpoint_loader(url)
            if loader is checkpoint.load_from_local and not Path(url).expanduser().is_file():
                raise ValueError(absence(Path(url)))
            for prefix in filter(url.startswith, ADDRESSES):
                known, name = ADDRESSES[prefix](), url.removeprefix(prefix)
                name = checkpoint.get_deprecated_model_names().get(name, name)
                if name not in known:
                    raise ValueError(f'{prefix} has no {name!r}; check its spelling')
                url = known[name]
            file = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(url).path).name)
            if url.startswith('http') and not file.exists():
                with named(f'get {url} elsewhere and put it there as {file}, for it cannot be downloaded'):
                    urllib.request.urlopen(urllib.request.Request(url, method='HEAD'), timeout=10).close()
