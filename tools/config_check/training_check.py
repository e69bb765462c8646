"""What a training is built of beside model and data: whether its types and their settings are known."""

import inspect
from typing import Any, Iterator, Optional, Tuple

from mmdet.registry import DATA_SAMPLERS, HOOKS, LOG_PROCESSORS, LOOPS, PARAM_SCHEDULERS, VISBACKENDS, VISUALIZERS
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import FUNCTIONS, Registry

REGISTRIES = {
    'default_hooks': HOOKS,
    'custom_hooks': HOOKS,
    'param_scheduler': PARAM_SCHEDULERS,
    'train_dataloader.sampler': DATA_SAMPLERS,
    'train_dataloader.batch_sampler': DATA_SAMPLERS,
    'train_dataloader.collate_fn': FUNCTIONS,
    'val_dataloader.sampler': DATA_SAMPLERS,
    'val_dataloader.batch_sampler': DATA_SAMPLERS,
    'val_dataloader.collate_fn': FUNCTIONS,
    'train_cfg': LOOPS,
    'val_cfg': LOOPS,
    'log_processor': LOG_PROCESSORS,
    'visualizer': VISUALIZERS,
    'visualizer.vis_backends': VISBACKENDS,
}
# keys of several parts, each with a name; and those whose type MMEngine knows if it is not given
GROUPS, HAVE_DEFAULT = ('default_hooks', 'param_scheduler'), ('train_cfg', 'val_cfg', 'log_processor')
TAKEN_OUT = ('type', '_scope_', 'priority')  # by MMEngine, before it builds


def check_training(cfg: Config, optim_wrapper: OptimWrapper) -> None:
    """Look up all types, and whether they take their settings; see that the last step is saved.

    Args:
        cfg (Config): Of a training.
        optim_wrapper (OptimWrapper): Built of it.

    Raises:
        ValueError: If one is not registered or has an unknown setting, or no checkpoint is left to measure.
    """
    savers = []
    for key, registry in REGISTRIES.items():
        for path, part in _parts(key, _value(cfg, key), is_group=key in GROUPS):
            if 'type' not in part and key in HAVE_DEFAULT:
                continue
            kind = _kind(path, part, registry, cfg.get('default_scope'))
            try:
                if registry is PARAM_SCHEDULERS and not isinstance(optim_wrapper, OptimWrapperDict):
                    _build_scheduler(cfg.train_cfg, part, optim_wrapper)
                else:
                    settings = {name: value for name, value in part.items() if name not in TAKEN_OUT}
                    inspect.signature(kind).bind_partial(**settings)
            except (AssertionError, TypeError, ValueError) as error:
                said = ' '.join(str(error).split())
                raise ValueError(f'{path} cannot be built ({kind.__name__}: {said}); check its settings') from error
            if inspect.isclass(kind) and issubclass(kind, CheckpointHook):
                savers.append((path, part))
    _check_last_is_saved(cfg, savers)


def _value(cfg: Any, key: str) -> Any:
    for name in key.split('.'):
        cfg = cfg.get(name) if isinstance(cfg, (dict, Config)) else None
    return cfg


def _parts(key: str, value: Any, is_group: bool = False) -> Iterator[Tuple[str, dict]]:
    """The configs of parts under a key, with where each stands; objects that are built already need no look."""
    if isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _parts(f'{key}[{number}]', part)
    elif isinstance(value, dict) and is_group and 'type' not in value:
        for name, part in value.items():
            yield from _parts(f'{key}.{name}', part)
    elif isinstance(value, dict):
        yield key, value


def _kind(path: str, part: dict, registry: Registry, scope: Optional[str]) -> Any:
    kind = part.get('type')
    if kind is None:
        raise ValueError(f'{path}={dict(part)} has no type; write one')
    if not isinstance(kind, str):
        return kind
    found = registry.get(kind) or (registry.get(f'{scope}.{kind}') if scope else None)
    if found is None:
        raise ValueError(
            f"{path}.type='{kind}' is not registered ({registry.name}); check its spelling, and custom_imports"
        )
    return found


def _build_scheduler(schedule: dict, part: dict, optim_wrapper: OptimWrapper) -> None:
    """As MMEngine's runner does."""
    end = schedule.get('max_epochs') if part.get('by_epoch', True) else schedule.get('max_iters')
    part = {**part, 'end': part.get('end', end)} if end else dict(part)
    PARAM_SCHEDULERS.build(part, default_args=dict(optimizer=optim_wrapper, epoch_length=1))


def _check_last_is_saved(cfg: Config, savers: list) -> None:
    """It is what the benchmark measures."""
    if 'checkpoint' not in (cfg.get('default_hooks') or {}):  # MMEngine adds one
        return
    if not savers:
        raise ValueError('default_hooks.checkpoint=None leaves nothing to measure; take it out')
    if not any(_saves_last(cfg.train_cfg, hook) for _, hook in savers):
        path, hook = savers[0]
        raise ValueError(
            f'{path}.save_last=False with interval={hook.get("interval", -1)} does not save what is trained last, '
            'which is what is measured; take save_last out'
        )


def _saves_last(schedule: dict, hook: dict) -> bool:
    if hook.get('save_last', True):
        return True
    last = schedule.get('max_epochs') if hook.get('by_epoch', True) else schedule.get('max_iters')
    interval = hook.get('interval', -1)
    steps = (last or 0) - hook.get('save_begin', 0)
    return bool(last) and interval > 0 and steps >= 0 and steps % interval == 0
