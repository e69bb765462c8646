"""MMDetection's own ``tools/train.py``, as its package brings it along; see ``--help``.

``--resume`` passes over a checkpoint that a kill or a full disk cut short.
"""

import os

# before torch is imported: threads wait for each other asleep, where spinning would take a core from other processes
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmdet_tools import run_mmdet_tool
from resuming import pass_over_broken_checkpoints

if __name__ == '__main__':
    pass_over_broken_checkpoints()
    run_mmdet_tool('train.py')
