"""MMDetection's own ``tools/test.py``, as its package brings it along; see ``--help``."""

import os

# as in train.py
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmdet_tools import run_mmdet_tool

if __name__ == '__main__':
    run_mmdet_tool('test.py')
