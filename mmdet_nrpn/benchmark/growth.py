import statistics
from pathlib import Path
from typing import Callable, Dict, List

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmengine.structures import InstanceData

from ..models import NRPNSampler
from ..models.dense_heads.nrpn_settings import FALSE_POSITIVES
from ..models.utils import mine_candidates
from .steps import now

NUM_PRIORS = [10**4, 3 * 10**4, 10**5, 3 * 10**5, 10**6]
NUM_CANDIDATES = [100, 300, 1000, 3000, 10000]
NUM_OBJECTS = 8


def growth(device: str, rounds: int) -> Dict[str, Dict[int, float]]:
    """Time mining and drawing alone, for one picture.

    Args:
        device (str): 'cpu' or 'cuda'.
        rounds (int): Of which the median is taken, after one to warm up.

    Returns:
        dict[str, dict[int, float]]: Seconds of ``mining`` and ``drawing`` by number of anchors, and of ``mining by
        candidates`` by number of the surest anchors that are looked at, out of 1e6.
    """
    candidates = FALSE_POSITIVES['max_num']
    return {
        'mining': {num: _median(_mining(num, candidates, device), device, rounds) for num in NUM_PRIORS},
        'drawing': {num: _median(_drawing(num, device), device, rounds) for num in NUM_PRIORS},
        'mining by candidates': {
            num: _median(_mining(NUM_PRIORS[-1], num, device), device, rounds) for num in NUM_CANDIDATES
        },
    }


def _median(job: Callable, device: str, rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        start = now(torch.device(device))
        job()
        times.append(now(torch.device(device)) - start)
    return statistics.median(times[1:])


def _boxes(num: int, device: str) -> torch.Tensor:
    corners = torch.rand(num, 2, 2, device=device) * 1000
    return torch.cat([corners.amin(1), corners.amax(1)], dim=1)


def _mining(num_priors: int, num_candidates: int, device: str) -> Callable:
    objectness, deltas = torch.randn(1, num_priors, device=device), torch.randn(1, num_priors, 4, device=device)
    priors, objects = _boxes(num_priors, device), InstanceData(bboxes=_boxes(NUM_OBJECTS, device))
    metas = [dict(img_shape=(1000, 1000))]
    coder = DeltaXYWHBBoxCoder()
    return lambda: mine_candidates(objectness, deltas, priors, coder, [objects], metas, max_num=num_candidates)


def _drawing(num_priors: int, device: str) -> Callable:
    sampler = NRPNSampler(num=256, pos_fraction=0.5, hard_fraction=0.5)
    gt_inds = torch.zeros(num_priors, dtype=torch.long, device=device)
    priors = InstanceData(priors=torch.zeros(num_priors, 4, device=device))
    objects = InstanceData(bboxes=priors.priors[:0], labels=gt_inds[:0])
    hardness = torch.randn(num_priors, device=device)

    def draw_once() -> None:
        assigned = AssignResult(0, gt_inds, torch.zeros_like(hardness), gt_inds)
        sampler.sample(assigned, priors, objects, hardness=hardness)

    return draw_once


def plot_growth(measured: Dict[str, Dict[int, float]], path: Path) -> None:
    """Plot what :func:`growth` measured, with a line of linear growth to compare.

    Args:
        measured (dict): Its result.
        path (Path): PNG or SVG file to write.
    """
    figure = Figure(figsize=(9, 3.6), layout='constrained')
    axes = figure.subplots(1, 2)
    _panel(axes[0], {name: measured[name] for name in ('mining', 'drawing')}, 'anchors')
    _panel(axes[1], {'mining': measured['mining by candidates']}, 'candidates, of 1e6 anchors')
    figure.savefig(path, dpi=120)


def _panel(axis: Axes, curves: Dict[str, Dict[int, float]], label: str) -> None:
    for name, curve in curves.items():
        axis.loglog(list(curve), [1000 * seconds for seconds in curve.values()], marker='o', label=name)
    nums: List[int] = list(curve)
    last = 1000 * curve[nums[-1]]
    axis.loglog(nums, [last * num / nums[-1] for num in nums], color='gray', linestyle=':', label='linear')
    axis.set(xlabel=label, ylabel='ms a picture')
    axis.grid(alpha=0.3)
    axis.legend()
