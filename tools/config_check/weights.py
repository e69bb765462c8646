"""Weights that a training would download, found before it starts."""

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import get_external_models, get_mmcls_models, get_torchvision_models

# MMEngine's short names of addresses
TABLES = {
    'torchvision://': get_torchvision_models,
    'open-mmlab://': get_external_models,
    'openmmlab://': get_external_models,
    'mmcls://': get_mmcls_models,
}
SECONDS = 10  # to wait for an answer


def missing_weights(cfg: Config) -> Optional[str]:
    """Which weights can neither be found on this machine nor be downloaded, and where to put them; None if none."""
    for key, given in _given(dict(model=cfg.model, load_from=cfg.get('load_from'))):
        try:
            url = _address(given)
        except ImportError as error:  # torchvision knows the addresses of its own
            return f'{key}={given!r} has no address: {error}; install it'
        if not url.startswith(('http://', 'https://')):
            continue
        file = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(url).path).name)
        reason = None if file.exists() else _unreachable(url)
        if reason:
            return (
                f'{key}={given!r} is not on this machine and cannot be downloaded ({reason}); get {url} elsewhere and '
                f'put it there as {file}'
            )
    return None


def _given(value: Any, key: str = '') -> Iterator[Tuple[str, str]]:
    """Every ``checkpoint`` of an ``init_cfg``, ``pretrained`` and ``load_from``, with its key."""
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str) and name in ('checkpoint', 'pretrained', 'load_from'):
                yield f'{key}.{name}'.lstrip('.'), item
            yield from _given(item, f'{key}.{name}'.lstrip('.'))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _given(item, f'{key}[{number}]')


def _address(given: str) -> str:
    for prefix, table in TABLES.items():
        if given.startswith(prefix):
            return table().get(given.removeprefix(prefix), '')
    return given


def _unreachable(url: str) -> Optional[str]:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method='HEAD'), timeout=SECONDS).close()
    except OSError as error:  # URLError among them
        return ' '.join(str(getattr(error, 'reason', error)).split())
    return None
