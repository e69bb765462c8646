"""Models built and fed as MMEngine's runner does it, and detectors run over a loader, each image beside its objects."""

import copy
import warnings
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple

import torch
from config_check.explain import named
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rich.progress import track
from torch import nn
from torch.utils.data import DataLoader

from mmdet_nrpn.evaluation import GroundTruth
from mmdet_nrpn.utils import NRPN_PREFIX, load_weights, rpn_of


def read_config(path: Path) -> Config:
    """A config; a ValueError that names it says what is wrong with it, such as a base that is not there."""
    with named(str(path)):
        return Config.fromfile(path)


def build_model(cfg: Config) -> nn.Module:
    """Build a config's model, in its default scope and with a ``data_preprocessor`` that stands beside it."""
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    model = copy.deepcopy(cfg.model)  # building writes into it
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(model)


def imports_with_package(cfg: Config) -> dict:
    """A config's ``custom_imports`` in their order, which may count, and this package at the end if it is missing."""
    given = dict(cfg.get('custom_imports') or dict(allow_failed_imports=False))
    imports = given.get('imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    return {**given, 'imports': [*imports, *({'mmdet_nrpn'} - {*imports})]}


def require_detector(cfg: Config) -> None:
    """Refuse, with a ValueError, a config without a model, or whose detector lies inside a teacher or a tracker."""
    if not cfg.get('model'):
        raise ValueError('model is not there; give the config of a detector')
    if 'detector' in cfg.model:
        raise ValueError(
            f'model.type={cfg.model.get("type")!r} has its detector inside, in model.detector; give the same '
            'checkpoint with the config of that detector alone'
        )


def build_detector(cfg: Config) -> nn.Module:
    """Build a detector, without warnings of what a training would do; refuse as :func:`require_detector` does."""
    require_detector(cfg)
    with warnings.catch_warnings(action='ignore'):
        return build_model(cfg)


def tell_step(number: int) -> None:
    """Say which step of the training it is, from 0 on: batch augmentations such as BatchSyncRandomResize ask."""
    MessageHub.get_current_instance().update_info('iter', number)


class Detector(NamedTuple):
    """A config's model with a checkpoint's weights, on a GPU if there is one."""

    cfg: Config
    model: nn.Module
    has_nrpn: bool  # whether the checkpoint holds the weights of the nRPN that the config has


class RPNOutputs(NamedTuple):
    """What a detector's RPN returns of one batch: the first arguments of ``find_proposal_errors``."""

    head: RPNHead
    outs: tuple  # objectness and box deltas, a list of levels each
    nrpn_outs: Optional[tuple]  # None without an nRPN
    data_samples: List[DetDataSample]  # with objects and ignored objects in pixels of the original image


def build(config: Path, checkpoint: Path) -> Detector:
    """Build a config's model for inference and load a checkpoint.

    Raises:
        ValueError: If the checkpoint does not fit, or the model has no RPN of its own.
    """
    cfg = read_config(config)
    try:
        model = build_detector(cfg).eval()
        nrpn = getattr(rpn_of(model), 'nrpn_head', None)
    except ValueError as error:
        raise ValueError(f'{config}: {error}') from None
    given = load_weights(model, checkpoint)['state_dict']
    own = {} if nrpn is None else nrpn.state_dict(prefix=NRPN_PREFIX)
    has_nrpn = bool(own) and all(any(key.endswith(name) for key in given) for name in own)
    return Detector(cfg, model.to('cuda' if torch.cuda.is_available() else 'cpu'), has_nrpn)


@torch.no_grad()
def run(detectors: List[Detector], loader: DataLoader, doing: str) -> Iterator[Tuple[dict, List[RPNOutputs]]]:
    """Run the RPNs of detectors over a loader's batches: each batch, and what each detector makes of it.

    They see the same images, each through its own data preprocessor. ``doing`` stands beside the progress bar. A
    ValueError tells if an image's objects are not known in pixels of the original image.
    """
    ground_truth = GroundTruth(loader.dataset)
    for batch in track(loader, doing):
        for sample in batch['data_samples']:
            objects, ignored = (torch.from_numpy(bboxes).float() for bboxes in ground_truth(sample.to_dict()))
            sample.gt_instances, sample.ignored_instances = InstanceData(bboxes=objects), InstanceData(bboxes=ignored)
        yield batch, [_outputs(detector, batch) for detector in detectors]


def _outputs(detector: Detector, batch: dict) -> RPNOutputs:
    data = detector.model.data_preprocessor(batch, False)
    x, head = detector.model.extract_feat(data['inputs']), rpn_of(detector.model)
    if not detector.has_nrpn:
        return RPNOutputs(head, head(x), None, data['data_samples'])
    outs, hidden = head.forward_with_hidden(x)
    return RPNOutputs(head, outs, head.forward_nrpn(x, hidden), data['data_samples'])
