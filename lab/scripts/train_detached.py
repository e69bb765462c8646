"""tools/train.py, of a detector whose RPN does not train the features that it shares with the second stage.

Its arguments are those of tools/train.py. What a detector loses with an RPN and keeps here, it loses in the features.
"""

import argparse
import functools
import os
import runpy
import sys
from pathlib import Path
from typing import Callable

# as in train.py
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def detached(loss_and_predict: Callable) -> Callable:
    """The method of an RPN, on features that its losses do not reach."""

    @functools.wraps(loss_and_predict)
    def on_detached_features(self, x: tuple, *args, **kwargs) -> tuple:
        return loss_and_predict(self, tuple(level.detach() for level in x), *args, **kwargs)

    return on_detached_features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help='those of tools/train.py')
    parser.parse_args()
    from mmdet.models.dense_heads import RPNHead

    from mmdet_nrpn.models import HardNegativeRPNHead

    for head in (RPNHead, HardNegativeRPNHead):
        head.loss_and_predict = detached(head.loss_and_predict)
    sys.path[0] = str(TOOLS)
    runpy.run_path(str(TOOLS / 'train.py'), run_name='__main__')


if __name__ == '__main__':
    main()
