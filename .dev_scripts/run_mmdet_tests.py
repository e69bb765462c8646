"""Run MMDetection's own tests with this package's classes in the place of stock's.

    git clone --depth 1 --branch v3.3.0 https://github.com/open-mmlab/mmdetection CHECKOUT
    pip install parameterized
    python .dev_scripts/run_mmdet_tests.py CHECKOUT

MMDetection's distributions do not have these tests. They are those of the RPN head, of detectors with an RPN, of a
semi-supervised detector and of a tracker; of RandomSampler, which these sample with, MMDetection has none. Each of
SETTINGS runs in a process of its own, with ``RPNHead`` and, where no object is added to the anchors, ``RandomSampler``
replaced. What needs a GPU runs on the CPU where there is none, or most of it would be passed over. There, Sparse R-CNN
and QueryInst, which have no RPN, fail with stock's classes, too: MMCV's RoIAlign refuses their boxes.

Prints how each test ended with each setting. Ends with 1 if one passes with stock's classes and not with ours.
"""

import argparse
import multiprocessing
import sys
from pathlib import Path

import pandas as pd

FILES = (
    'test_dense_heads/test_rpn_head.py',
    'test_detectors/test_rpn.py',
    'test_detectors/test_two_stage.py',
    'test_detectors/test_panoptic_two_stage_segmentor.py',
    'test_detectors/test_semi_base.py',
    'test_mot/test_qdtrack.py',
)
PAPER = dict(nrpn_head=dict(type='PaperNRPNHead'), loss_rank=None)
# The arguments of HardNegativeRPNHead, and whether NRPNSampler takes the place of RandomSampler.
SETTINGS = {
    'stock': (None, False),
    'defaults': ({}, False),
    'no nRPN': (dict(nrpn_head=None), False),
    'samples, too': ({}, True),
    'paper': (PAPER, True),
    'own objectness': (dict(nrpn_head=None, hardness='rpn', loss_rank=None), True),
}


def replace(head_settings: dict | None, samples: bool) -> None:
    """Put this package's classes where MMDetection's tests and configs find RPNHead and RandomSampler."""
    import mmdet.models.dense_heads
    from mmdet.models.task_modules import RandomSampler
    from mmdet.registry import MODELS, TASK_UTILS

    from mmdet_nrpn import HardNegativeRPNHead, NRPNSampler

    class Head(HardNegativeRPNHead):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **{**head_settings, **kwargs})

    def sampler(**kwargs) -> RandomSampler:  # a second stage's adds its objects to the proposals
        return RandomSampler(**kwargs) if kwargs.get('add_gt_as_proposals', True) else NRPNSampler(**kwargs)

    if head_settings is not None:
        MODELS.module_dict['RPNHead'] = mmdet.models.dense_heads.RPNHead = Head
    if samples:
        TASK_UTILS.module_dict['RandomSampler'] = sampler


def use_cpu_for_gpu() -> None:
    import torch
    from mmengine.logging import MMLogger
    from mmengine.model import BaseModel

    if torch.cuda.is_available():
        return
    MMLogger.get_current_instance()  # which looks for a GPU when it is created
    torch.cuda.is_available = lambda: True
    BaseModel.cuda = lambda self, device=None: self
    BaseModel.to = lambda self, device: self


class Outcomes(dict):
    """How each test ended, as a plugin of pytest."""

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == 'call' or not report.passed:
            said = '' if report.passed else f': {report.longreprtext.splitlines()[-1]}'
            self[report.nodeid.rpartition('/')[2]] = f'{report.outcome}{said}'

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self[report.nodeid] = f'not read: {report.longreprtext.splitlines()[-1]}'


def run(name: str, checkout: Path) -> dict:
    """The outcomes of all tests with one setting."""
    import mmdet
    import pytest
    from mmdet.testing import _utils
    from mmdet.utils import register_all_modules

    register_all_modules()
    replace(*SETTINGS[name])
    use_cpu_for_gpu()
    _utils._get_config_directory = lambda: str(Path(mmdet.__file__).parent / '.mim' / 'configs')
    outcomes = Outcomes()
    files = [str(checkout / 'tests' / 'test_models' / file) for file in FILES]
    pytest.main(['-q', '--no-header', '--tb=line', f'--rootdir={checkout}', '-pno:cacheprovider', *files], [outcomes])
    return dict(outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'checkout', type=Path, help="MMDetection's repository, at the tag of the version to compare with"
    )
    checkout = parser.parse_args().checkout
    with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        outcomes = pd.DataFrame({name: pool.apply(run, (name, checkout.absolute())) for name in SETTINGS})
    outcomes = outcomes.fillna('did not run')
    differ = outcomes[(outcomes.stock == 'passed') & (outcomes != 'passed').any(axis=1)]
    print(f'\n{len(outcomes)} tests; passed:')
    print((outcomes == 'passed').sum().to_string())
    for test, row in outcomes[(outcomes != 'passed').any(axis=1)].iterrows():
        print(f'\n{test}')
        print(row.to_string())
    sys.exit(len(outcomes) == 0 or len(differ) > 0)


if __name__ == '__main__':
    main()
