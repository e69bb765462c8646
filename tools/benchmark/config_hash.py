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
    return [_without_places(item) for item in value] if isinstance(value, (list, tuple)) else value


def trained_part(cfg: Config) -> dict:
    """What of a config, with its bases merged, changes a training, without the paths of data and weights."""
    hooks = cfg.get('custom_hooks') or []
    of_some = dict(  # that have it, so that others keep a hash
        custom_hooks=[hook for hook in hooks if str(hook['type']).split('.')[-1] not in PASSIVE_HOOKS],
        load_from=bool(cfg.get('load_from')),  # which file it is differs between machines
        auto_scale_lr=(cfg.get('auto_scale_lr') or {}).get('enable') and cfg.auto_scale_lr,
    )
    return _without_places(
        {**{key: cfg.get(key) for key in TRAINING}, **{key: value for key, value in of_some.items() if value}}
    )


def config_hash(cfg: Config) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of what a config trains, equal on every machine.

    It changes with the model, the training data's pipeline, the schedule, the optimizer, the hooks and whether training
    starts from a checkpoint. It does not with the paths of data and weights, the log or the evaluation.
    """
    return hashlib.sha256(json.dumps(trained_part(cfg), sort_keys=True, default=str).encode()).hexdigest()[:12]
