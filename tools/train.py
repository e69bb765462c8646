"""MMDetection's own ``tools/train.py``, as its package brings it along; see ``--help``.

``--resume`` without a checkpoint passes over one that a kill or a full disk cut short.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config

from mmdet_nrpn.utils import newest_whole_checkpoint, run_mmdet_tool


def name_the_checkpoint_to_resume(argv: list) -> list:
    """The command line with ``--resume`` spelled out, where it leaves the checkpoint open and there is one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('config')
    parser.add_argument('--work-dir')
    parser.add_argument('--resume', nargs='?', const='auto')
    # MMDetection's others that take values, lest a value passes for the config
    parser.add_argument('--cfg-options', nargs='+')
    for name in ('--launcher', '--local_rank', '--local-rank'):
        parser.add_argument(name)
    if '--resume' not in argv or '-h' in argv or '--help' in argv:
        return argv
    args, _ = parser.parse_known_args(argv)
    if args.resume != 'auto':
        return argv
    work_dir = args.work_dir or Config.fromfile(args.config).get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    checkpoint = newest_whole_checkpoint(Path(work_dir))
    if checkpoint is None:
        return argv
    rest = [arg for arg in argv if arg not in ('--resume', 'auto')]
    return [*rest, '--resume', str(checkpoint)]


if __name__ == '__main__':
    sys.argv[1:] = name_the_checkpoint_to_resume(sys.argv[1:])
    run_mmdet_tool('train.py')
