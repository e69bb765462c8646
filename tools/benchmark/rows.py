"""The rows of a table: configs, or a file that names configs and what is changed in them."""

import inspect
import json
from pathlib import Path
from typing import Dict, List, NamedTuple

from mmengine.config import Config
from mmengine.runner import Runner


class Row(NamedTuple):
    """What one line of the table is of."""

    name: str
    source: Path  # the config's file
    cfg: Config


def of_configs(paths: List[Path]) -> List[Row]:
    """A row for each config, named after its file."""
    return [Row(path.stem, path, Config.fromfile(path)) for path in paths]


def of_file(path: Path) -> List[Row]:
    """The rows of a JSON file, ``{name: {'config': file, key: value}}``, the baseline first.

    Configs are relative to it. What stands under ``'*'`` is changed in every row, before its own changes.

    Raises:
        ValueError: If it has no row, or one without a config, with a key that none has or a name that is no folder's.
    """
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
        of_all = rows.pop('*', {})
        named = {name: {**of_all, **row} for name, row in rows.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f'{path} is no JSON of {{name: {{"config": file, key: value}}}} ({error})') from None
    if not named:
        raise ValueError(f'{path} has no row; write {{"name": {{"config": "file.py"}}}}')
    return [_row(path, name, changes) for name, changes in named.items()]


def _row(path: Path, name: str, changes: Dict[str, object]) -> Row:
    of_row = f'{path}: row {name!r}'
    if name != Path(name).name or name == '..':
        raise ValueError(f"{of_row}: its runs get a folder of this name; write one without '/'")
    source = path.parent / str(changes.pop('config', ''))
    if not source.is_file():
        raise ValueError(f'{of_row}: config {source} is not there')
    cfg = Config.fromfile(source)
    known = {*cfg, *inspect.signature(Runner.__init__).parameters}
    for key in changes:
        if key.split('.')[0] not in known:
            raise ValueError(f'{of_row}: {key} would change nothing, for no config has it; check its spelling')
    cfg.merge_from_dict(changes)
    return Row(name, source, cfg)
