import copy
import gc
import os
import shutil
import tempfile
from importlib import metadata
from multiprocessing.util import Finalize
from pathlib import Path

# one thread a test process: the suite's networks are too small for more
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import tool_runner
import torch
from hypothesis import settings
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmdet_tools import read_each_metafile_once
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from small_head import HEAD

import mmdet_nrpn  # noqa: F401 (registers)

REPO = Path(__file__).parents[1]
MEMORY = Path('/dev/shm')
LONGEST = ('test_benchmark.py', 'test_commands.py', 'test_mim.py')
# temporary files in memory where there is enough: MMEngine writes some for each config that it reads, 0.1 s on a disk
if 'TMPDIR' not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 * 2**30:
    os.environ['TMPDIR'] = tempfile.tempdir = OURS = tempfile.mkdtemp(prefix='mmdet_nrpn-', dir=MEMORY)
else:
    OURS = None  # also in a worker, which has the first process's
register_all_modules(init_default_scope=True)
read_each_metafile_once()  # 1 s for each mmdet:: in a config, and the suite loads hundreds
settings.register_profile('repeatable', derandomize=True, deadline=None)
settings.load_profile('repeatable')


def pytest_collection_modifyitems(items):
    """Slow tests first, a minute's before those, so that no worker ends with one while the others have nothing left."""
    items.sort(key=lambda item: ('slow' not in item.keywords, item.path.name not in LONGEST))
    gc.freeze()  # as in helpers/preloaded.py


def pytest_sessionfinish(exitstatus):
    if OURS and exitstatus == 0:
        Finalize(None, shutil.rmtree, [OURS, True], exitpriority=-200)  # multiprocessing removes a folder in it at -100


@pytest.fixture
def repo():
    return REPO


@pytest.fixture
def head_cfg():
    """Config of a small RPN head on two levels; the keyword arguments are merged in."""

    def make(type='HardNegativeRPNHead', sampler=None, **kwargs):
        cfg = copy.deepcopy(HEAD)
        if type == 'HardNegativeRPNHead':  # the paper's way of learning from an nRPN, unless a test says otherwise
            sampler = sampler or dict(type='NRPNSampler')
            kwargs.setdefault('loss_rank', None)
        cfg['train_cfg']['sampler'].update(sampler or {})
        cfg['train_cfg'].update(kwargs.pop('train_cfg', {}))
        return ConfigDict(type=type, **{**cfg, **kwargs})

    return make


@pytest.fixture
def build_head(head_cfg):
    """A head of that config with weights from a seed."""

    def build(*args, **kwargs):
        torch.manual_seed(0)
        head = MODELS.build(head_cfg(*args, **kwargs))
        head.init_weights()
        return head

    return build


def data_sample(bboxes, ignored=(), size=64):
    boxes = torch.tensor(bboxes, dtype=torch.float32).reshape(-1, 4)
    ignored = torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4)
    sample = DetDataSample(
        metainfo=dict(img_shape=(size, size), pad_shape=(size, size), ori_shape=(size, size), scale_factor=(1.0, 1.0))
    )
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long))
    sample.ignored_instances = InstanceData(bboxes=ignored, labels=torch.zeros(len(ignored), dtype=torch.long))
    return sample


@pytest.fixture
def make_sample():
    """An image of 64 px with the given objects and ignored objects."""
    return data_sample


@pytest.fixture
def features():
    """Features of images of 64 px on two levels, an image each call's ``num``."""

    def make(num=2, requires_grad=False, size=64):
        rng = torch.Generator().manual_seed(7)
        return tuple(
            torch.randn(num, 8, size // stride, size // stride, generator=rng).requires_grad_(requires_grad)
            for stride in (4, 8)
        )

    return make


@pytest.fixture(scope='session')
def run_tool():
    """Run a tool from the repository's root; returns the finished process with its output."""

    def run(*args, **env):
        env = {**os.environ, **{key: str(value) for key, value in env.items()}}
        return tool_runner.run(args, cwd=REPO, env=env, timeout=300)

    return run


@pytest.fixture(scope='session')
def drawn_shapes(run_tool, tmp_path_factory):
    root = tmp_path_factory.mktemp('drawn') / 'shapes'
    done = run_tool('tools/dataset_converters/make_shapes.py', root, '--train', 12, '--val', 4, '--size', 128)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def shapes(drawn_shapes, tmp_path):
    """A small drawn data set, of the test's own."""
    return Path(shutil.copytree(drawn_shapes, tmp_path / 'shapes'))


@pytest.fixture
def mmdet_package():
    """MMDetection's name for mim: that of the stack's distribution."""
    (name,) = metadata.packages_distributions()['mmdet']
    return name
