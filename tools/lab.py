"""Train the rows of a table in the laboratory (docs/lab.md) and compare them as tools/benchmark.py does.

    python tools/lab.py docs/results/lab/rows.json --seeds 0 1 2 --work-dir work_dirs/lab

The JSON file names the rows, the baseline first; each is a config, relative to the file, and what is changed in it:

    {"rpn": {"config": "rpn_x.py"}, "nrpn-100": {"config": "nrpn_x.py", "model.rpn_head.nrpn_head.max_num": 100}}

What stands under "*" is changed in every row, before the row's own changes.

Further arguments go to tools/benchmark.py.
"""

import argparse
import contextlib
import json
import os
import runpy
import shlex
import sys
from pathlib import Path

from arguments import existing_file
from mmdet_tools import read_each_metafile_once
from mmengine.config import Config


def write_config(name: str, row: dict, rows_file: Path, folder: Path) -> str:
    changes = dict(row)
    cfg = Config.fromfile(rows_file.parent / changes.pop('config'))
    cfg.merge_from_dict(changes)
    # whole or not at all: another lab.py may be at work beside this one, with other seeds
    part = folder / f'{name}.{os.getpid()}.py'
    cfg.dump(part)
    return str(part.replace(folder / f'{name}.py'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rows', type=existing_file)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/lab'), help='default: %(default)s')
    args, others = parser.parse_known_args()
    rows = json.loads(args.rows.read_text(encoding='utf-8'))
    of_all = rows.pop('*', {})
    rows = {name: {**of_all, **row} for name, row in rows.items()}
    for name, row in rows.items():
        if not (args.rows.parent / row.get('config', '')).is_file():
            parser.error(f"row '{name}' of {args.rows}: config {row.get('config')} is not there")
    if args.work_dir.exists() and not args.work_dir.is_dir():
        parser.error(f'--work-dir {args.work_dir} is a file; name a folder')
    folder = args.work_dir / 'configs'
    folder.mkdir(parents=True, exist_ok=True)
    read_each_metafile_once()
    with contextlib.redirect_stdout(sys.stderr):  # MMEngine tells of variables, and --list must not
        configs = [write_config(name, row, args.rows, folder) for name, row in rows.items()]
    called = shlex.join(['python', *sys.argv])
    sys.argv = [sys.argv[0], *configs, '--work-dir', str(args.work_dir), *others]
    runpy.run_path(str(Path(__file__).with_name('benchmark.py')))['main'](called)


if __name__ == '__main__':
    main()
