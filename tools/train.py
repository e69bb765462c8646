"""MMDetection's own ``tools/train.py``, as its package brings it along; see ``--help``."""

from mmdet_nrpn.utils import run_mmdet_tool

if __name__ == '__main__':
    run_mmdet_tool('train.py')
