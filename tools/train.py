"""MMDetection's own ``tools/train.py``, as its package brings it along; see ``--help``.

A kill or a full disk leaves no half checkpoint for ``--resume``.
"""

import os

# before torch is imported: threads wait for each other asleep, where spinning would take a core from other processes
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmdet_tools import run_mmdet_tool
from whole_files import write_whole_files

if __name__ == '__main__':
    write_whole_files()
    run_mmdet_tool('train.py')
