"""Which configs train today what they trained at an earlier commit, whatever they were called there.

    python lab/scripts/compare_methods.py cb1a89a [--write]

Compares, for every config that a row of a ``runs.csv`` was trained with at that commit, what it trains with what
today's configs and rows train: the resolved config, with the defaults of this package's classes filled in from the
signatures of either commit, and the model that is built from it (modules, weights' names and shapes, and every setting
that both commits' heads, losses, samplers and assigners have). Configs are paired by what they train and not by name.

``--write`` gives each row of a ``runs.csv`` the hash of its config today, where that was shown equal, and the hash that
it had at that commit, where not. A row is known by its numbers, so it may have been renamed or moved, and written
before. Then run make_metafile.py. Ends with 1 if a config was not shown equal.
"""

import argparse
import copy
import csv
import functools
import importlib
import importlib.util
import inspect
import io
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Iterable

ROOT = Path(__file__).resolve().parents[2]
# Arguments that only one of the two commits' classes has, and the value at which they change nothing.
NEUTRAL = {
    'NRPNSampler': dict(hard_iou_thr=None),
    'HardNegativeRPNHead': dict(hard_iou_thr=None),
    'OverlapLoss': dict(mode='saturating', reduction='mean'),
}
# Arguments that were a class's attribute or a constant of its module: where they are none, that is their value.
FORMERLY = {
    'PaperNRPNHead': dict(max_num='max_num', iou_thr='iou_thr', nms_iou_thr='NMS_IOU_THR', max_objects='MAX_OBJECTS')
}
# What a part is that has no type.
PARTS = dict(nrpn_head='NRPNHead', loss_rank='HardNegativeRankLoss')
OURS = ('mmdet_nrpn', 'lab')


def files_of(tree: Path, pattern: str) -> list:
    listed = subprocess.run(['git', '-C', tree, 'ls-files', pattern], capture_output=True, text=True, check=True)
    return [tree / name for name in listed.stdout.splitlines()]


# ---- in a process of its own for either commit, with that commit's package


def configs_of(tree: Path) -> dict:
    """Every config and every row of a file of rows, by name; those of them that another commit's package needs fail."""
    from mmengine.config import Config
    from mmengine.config import utils as config_utils

    config_utils.load = functools.cache(config_utils.load)  # MMDetection's metafiles, once
    load = functools.cache(functools.partial(Config.fromfile, import_custom_modules=False))
    files = [file.relative_to(tree) for file in files_of(tree, '*configs/*.py')]
    files = [file for file in files if not {'_base_', 'tests'} & {*file.parts}]
    found = {str(file): (tree / file, {}) for file in files}
    for file in files_of(tree, '*.json'):
        rows = json.loads(file.read_text())
        if not isinstance(rows, dict) or not any(isinstance(row, dict) and 'config' in row for row in rows.values()):
            continue
        of_all = rows.pop('*', {})
        for name, row in rows.items():
            changes = {**of_all, **row}
            found[f'{file.name}: {name}'] = (file.parent / changes.pop('config'), changes)
    configs = {}
    for name, (file, changes) in found.items():
        if file.is_file():  # some rows are of configs that are gone
            configs[name] = copy.deepcopy(load(file.resolve()))
            configs[name].merge_from_dict(changes)
    return configs


def class_of(name) -> type:
    from mmdet.registry import MODELS, TASK_UTILS

    return MODELS.get(name) or TASK_UTILS.get(name)


def with_defaults(value, part=None):
    """A config with what its classes of this package would fill in."""
    if isinstance(value, list):
        return [with_defaults(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = dict(value)
    if part in PARTS:
        value.setdefault('type', PARTS[part])
    cls = class_of(value['type']) if isinstance(value.get('type'), str) else None
    names = [base.__name__ for base in inspect.getmro(cls)] if cls else []
    for base in inspect.getmro(cls) if cls else []:
        if base.__module__.split('.')[0] in OURS and '__init__' in vars(base):
            for parameter in inspect.signature(base.__init__).parameters.values():
                if parameter.default is not parameter.empty:
                    value.setdefault(parameter.name, parameter.default)
    for name in names:
        for argument, source in FORMERLY.get(name, {}).items():
            if argument not in value:
                value[argument] = getattr(cls, source, None) or getattr(sys.modules[cls.__module__], source)
        for argument, neutral in NEUTRAL.get(name, {}).items():
            if argument in value and value[argument] == neutral:
                del value[argument]
    value = {key: with_defaults(item, key) for key, item in value.items()}
    if 'HardNegativeRPNHead' in names and value['nrpn_head'] is None and value['hardness'] == 'nrpn':
        (value['loss_rank'] or {}).pop('prior_weight', None)  # no nRPN, no prior
    return value


def settings_of(thing) -> dict:
    found = {}
    for name in dir(thing) if type(thing).__module__.split('.')[0] in OURS else vars(thing):
        value = getattr(thing, name, None)
        if not name.startswith('_') and isinstance(value, (int, float, str, tuple, type(None))):
            found[name] = repr(value)
    return found


def built(model: dict) -> dict:
    """What can be told of a model without training it."""
    from mmdet.registry import MODELS

    try:
        model = MODELS.build(model)
    except Exception as error:  # a row of an earlier commit's classes
        return dict(error=f'{type(error).__name__}: {error}')
    things = dict(model.named_modules())
    for name, module in list(things.items()):
        for part in ('assigner', 'sampler'):
            if getattr(module, part, None) is not None:
                things[f'{name}.{part}'] = getattr(module, part)
    for name, module in things.items():
        head = things[name.rpartition('.')[0]]
        if type(module).__name__ == 'HardNegativeRankLoss' and head.nrpn_head is None and head.hardness == 'nrpn':
            del module.prior_weight  # no nRPN, no prior
    return dict(
        types={name: type(thing).__name__ for name, thing in things.items()},
        weights={name: list(value.shape) for name, value in model.state_dict().items()},
        learns={name: value.requires_grad for name, value in model.named_parameters()},
        settings={name: settings_of(thing) for name, thing in things.items()},
    )


def probe(tree: Path, wanted: list) -> dict:
    """What configs train; of those whose name or hash is wanted, the built model, too."""
    for file in files_of(tree, '*config_hash.py') + files_of(tree, '*lab/__init__.py'):
        sys.path[:0] = [str(file.parent), str(file.parents[1])]
    from mmdet.utils import register_all_modules

    register_all_modules()
    for package in OURS:
        importlib.import_module(package)
    config_hash = importlib.import_module('config_hash').config_hash
    spec = importlib.util.spec_from_file_location('of_today', next(iter(files_of(ROOT, '*config_hash.py'))))
    today = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(today)
    found = {}
    for name, cfg in configs_of(tree).items():
        trained = json.dumps(with_defaults(today.trained_part(cfg)), sort_keys=True, default=str)
        of_config = config_hash(cfg)
        model = built(cfg.model) if {name, of_config} & {*wanted} else None
        found[name] = dict(hash=of_config, trained=trained, built=model)
    return found


# ---- of both commits


def run_probe(tree: Path, wanted: list) -> dict:
    """``probe`` in a process that imports the package of ``tree``."""
    env = {key: value for key, value in os.environ.items() if key not in ('VOC_ROOT', 'SHAPES_ROOT', 'FEATURES')}
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / 'answer.json'
        command = [sys.executable, __file__, '--probe', tree, '--out', answer]
        env['PYTHONPATH'] = str(tree)
        asked = json.dumps(sorted({*wanted}))
        subprocess.run(command, env=env, input=asked, text=True, check=True, cwd=tree, stdout=subprocess.DEVNULL)
        return json.loads(answer.read_text())


def runs_of(tree: Path) -> dict:
    """The lines of every ``runs.csv``: cells of a run, by file."""
    return {file: [*csv.reader(io.StringIO(file.read_text()))] for file in files_of(tree, '*runs.csv')}


def is_run(cells: list) -> bool:
    return len(cells) > 3 and not cells[0].startswith('#') and cells[2] != 'config_hash'


def what_differs(old: dict, new: dict) -> list:
    """Where two built models differ, of what both have."""
    if 'error' in new:
        return [new['error']]
    differences = [part for part in ('types', 'weights', 'learns') if old[part] != new[part]]
    for name in old['settings'].keys() & new['settings'].keys():
        ours, theirs = old['settings'][name], new['settings'][name]
        differences += [f'{name}.{key}' for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
    return differences


def leaves(value, path: str = '') -> set:
    """A config's keys with their values, of all depths."""
    if value and isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {leaf for key, item in items for leaf in leaves(item, f'{path}.{key}')}
    return {f'{path[1:]}={value!r}'}


def next_to(trained: str, others: Iterable[str]) -> list:
    """How a config differs from the most similar one of today."""
    own = leaves(json.loads(trained))
    return sorted(min((own ^ leaves(json.loads(other)) for other in others), key=len))


def compare(old: Path) -> tuple:
    """Print a table of the configs that rows were trained with.

    Returns:
        tuple[dict, dict]: Today's hash, or None, by the earlier one; and each run's earlier hash by its numbers.
    """
    hash_of_run = {tuple(cells[3:]): cells[2] for runs in runs_of(old).values() for cells in runs if is_run(cells)}
    before, after = run_probe(old, hash_of_run.values()), run_probe(ROOT, [])
    names = defaultdict(list)
    for name, config in before.items():
        if config['built'] and 'error' not in config['built']:
            names[config['hash']].append(name)
    of_today = defaultdict(list)  # a config before a row, for a row of a table may be of a config
    for name in sorted(after, key=lambda name: ('.json: ' in name, name)):
        of_today[after[name]['trained']].append(name)
    pairs = {found[0]: of_today.get(before[found[0]]['trained'], []) for found in names.values()}
    after = run_probe(ROOT, [there[0] for there in pairs.values() if there])
    shown = {}
    for earlier, found in names.items():
        there = pairs[found[0]]
        if there:
            differs = what_differs(before[found[0]]['built'], after[there[0]]['built'])
        else:
            differs = next_to(before[found[0]]['trained'], of_today)
        shown[earlier] = None if differs else after[there[0]]['hash']
        print(f'{", ".join(found)} -> {", ".join(there) or "-"}')
        print(f'    {earlier} -> {shown[earlier] or "not equal: " + ", ".join(differs)}')
    others = set(hash_of_run.values()) - set(names)
    print(f'{len(shown)} hashes compared; {len(others)} hashes of rows are of no model of that commit, and stay')
    return shown, hash_of_run


def write(shown: dict, hash_of_run: dict) -> None:
    for file, runs in runs_of(ROOT).items():
        lines = file.read_text().splitlines(keepends=True)
        assert len(lines) == len(runs), file
        for number, cells in enumerate(runs):
            if is_run(cells) and tuple(cells[3:]) in hash_of_run:
                earlier = hash_of_run[tuple(cells[3:])]
                today = shown.get(earlier) or earlier
                lines[number] = lines[number].replace(f',{cells[2]},', f',{today},', 1)
        file.write_text(''.join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('commit', nargs='?', help='the earlier commit')
    parser.add_argument('--write', action='store_true', help="rewrite hashes in this tree's runs.csv")
    parser.add_argument('--probe', type=Path, help=argparse.SUPPRESS)
    parser.add_argument('--out', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.probe:
        args.out.write_text(json.dumps(probe(args.probe, json.load(sys.stdin))))
        return
    if not args.commit:
        parser.error('name the earlier commit')
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / 'old'
        subprocess.run(['git', '-C', ROOT, 'worktree', 'add', '--detach', '-q', old, args.commit], check=True)
        try:
            shown, hash_of_run = compare(old)
        finally:
            subprocess.run(['git', '-C', ROOT, 'worktree', 'remove', '--force', old], check=True)
    if args.write:
        write(shown, hash_of_run)
    sys.exit(None in shown.values())


if __name__ == '__main__':
    main()
