"""The hash that tells whether a result belongs to a config as it is today."""

import hashlib
import json

from mmengine.config import Config

# what a training does; the rest of a config is about logs, checkpoints and measuring
TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
# where data and weights lie: they differ between machines
PLACES = ('data_root', 'data_prefix', 'ann_file', 'folders', 'checkpoint')
# custom hooks that leave a training as it is
PASSIVE_HOOKS = ('StepSeedHook', 'CheckInvalidLossHook', 'FlushDenormals')


def _without_places(value):
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items() if key not in PLACES}
    if isinstance(value, (list, tuple)):
        return [_without_places(item) for item in value]
    return value


def _only_in_some(cfg: Config) -> dict:
    """What changes a training and few configs have; it is only named where it is there, so that others keep a hash."""
    hooks = cfg.get('custom_hooks') or []
    found = dict(custom_hooks=[hook for hook in hooks if str(hook['type']).split('.')[-1] not in PASSIVE_HOOKS])
    found['load_from'] = bool(cfg.get('load_from'))  # which file it is differs between machines
    if (cfg.get('auto_scale_lr') or {}).get('enable'):
        found['auto_scale_lr'] = cfg.auto_scale_lr
    return {key: value for key, value in found.items() if value}


def trained_part(cfg: Config) -> dict:
    """What of a config changes a training, without the paths of data and weights: what the hash is of.

    Args:
        cfg (Config): A config for MMDetection, with its bases merged.

    Returns:
        dict: Nested dicts and lists.
    """
    return _without_places({**{key: cfg.get(key) for key in TRAINING}, **_only_in_some(cfg)})


def config_hash(cfg: Config) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of what a config trains, equal on every machine.

    Args:
        cfg (Config): A config for MMDetection, with its bases merged.

    Returns:
        str: Changes with the model, the training data's pipeline, the schedule, the optimizer, the hooks and whether
        training starts from a checkpoint. Does not change with the paths of data and weights, the log or the
        evaluation.
    """
    return hashlib.sha256(json.dumps(trained_part(cfg), sort_keys=True, default=str).encode()).hexdigest()[:12]
