import json
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from ...models.utils import false_positives
from ..functional.proposal_recall import box_ious, match_proposals

IOU_THRS = np.linspace(0.5, 0.95, 10)
# COCO's, in pixels of the original picture: (suffix, from, to), both inclusive as in COCOeval
AREAS = (('', 0, 1e10), ('_s', 0, 32**2), ('_m', 32**2, 96**2), ('_l', 96**2, 1e10))
CURVE_NUMS = (1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000)


@METRICS.register_module()
class ProposalMetric(BaseMetric):
    """Recall of class-agnostic proposals, and how many of them are on no object.

    For every dataset whose samples have ``gt_instances`` and, where there are any, ``ignored_instances`` in pixels
    of the original picture. Recall is COCOeval's with ``useCats=0``: the mean over IoU 0.5 to 0.95 of the share of
    objects that the best N proposals of each picture find. Reported, as shares in [0, 1]:

    - ``AR@N``, and ``AR_s@N``, ``AR_m@N``, ``AR_l@N`` for objects below 32², up to 96² and above, by box area;
    - ``recall@N@IoU`` at single thresholds;
    - ``ABO@N``: mean over objects of the IoU of the best of the top N proposals (average best overlap);
    - ``FP@N``: mean over pictures (those with proposals) of the share of false positives in the top N, as
      :func:`~mmdet_nrpn.models.utils.false_positives` defines them for the training of nRPN.

    Ignored objects need not be found, and a proposal on one is not false. A recall of no objects is -1, as in
    COCOeval.

    Args:
        proposal_nums (Sequence[int]): Budgets N a picture. Defaults to (10, 50, 100, 300, 1000).
        iou_thrs (Sequence[float]): Single thresholds to report, out of 0.5, 0.55, …, 0.95. Defaults to (0.5, 0.7).
        fp_iou_thr (float): Below this IoU with every object, a proposal is false. Defaults to 0.3.
        out_file (str, optional): JSON file for the metrics and the curves behind them. Defaults to None.
        collect_device (str): 'cpu' or 'gpu', where processes exchange results. Defaults to 'cpu'.
        prefix (str, optional): Before the names of the metrics. Defaults to 'proposal'.

    Raises:
        ValueError: If a budget or a threshold is not one that can be reported.

    Example:
        >>> val_evaluator = dict(_delete_=True, type='ProposalMetric')  # in any stock RPN config
    """

    default_prefix = 'proposal'

    def __init__(
        self,
        proposal_nums: Sequence[int] = (10, 50, 100, 300, 1000),
        iou_thrs: Sequence[float] = (0.5, 0.7),
        fp_iou_thr: float = 0.3,
        out_file: Optional[str] = None,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not proposal_nums or any(int(n) != n or n < 1 for n in proposal_nums):
            raise ValueError(f'ProposalMetric: proposal_nums must be integers >= 1, got {proposal_nums}')
        unknown = [thr for thr in iou_thrs if not np.isclose(thr, IOU_THRS).any()]
        if unknown:
            raise ValueError(f'ProposalMetric: iou_thrs must be out of 0.5, 0.55, ..., 0.95, got {unknown}')
        self.proposal_nums = tuple(proposal_nums)
        self.iou_thrs = tuple(iou_thrs)
        self.fp_iou_thr = fp_iou_thr
        self.out_file = out_file
        self.budgets = np.array(sorted({*proposal_nums, *CURVE_NUMS}))

    def process(self, data_batch: Optional[dict], data_samples: Sequence[dict]) -> None:
        """Count what the proposals of each picture find; the boxes are not kept.

        Args:
            data_batch (dict, optional): Not used.
            data_samples (Sequence[dict]): With ``pred_instances`` (``bboxes``, ``scores``), ``gt_instances`` and
                maybe ``ignored_instances`` (``bboxes``), in pixels of the original picture.
        """
        for sample in data_samples:
            scores, order = sample['pred_instances']['scores'].cpu().sort(descending=True, stable=True)
            scores, order = scores[: self.budgets[-1]], order[: self.budgets[-1]]
            bboxes = sample['pred_instances']['bboxes'].cpu()[order]
            gt_bboxes = _bboxes(sample['gt_instances'])
            ignored = _bboxes(sample['ignored_instances']) if 'ignored_instances' in sample else None
            self.results.append(self._count(bboxes, scores, gt_bboxes, ignored))

    def _count(
        self, bboxes: torch.Tensor, scores: torch.Tensor, gt_bboxes: torch.Tensor, ignored: Optional[torch.Tensor]
    ) -> Dict[str, np.ndarray]:
        gts = gt_bboxes.numpy().astype(np.float64)
        areas = (gts[:, 2:] - gts[:, :2]).prod(axis=1)
        groups = np.array([(areas >= low) & (areas <= high) for _, low, high in AREAS])
        ious = box_ious(bboxes.numpy(), gts)
        ranks = match_proposals(ious, IOU_THRS, groups)
        found = (ranks < len(bboxes))[..., None] & (ranks[..., None] < self.budgets)
        false = false_positives(bboxes, scores, gt_bboxes, ignored, iou_thr=self.fp_iou_thr).numpy()
        taken = np.minimum(self.budgets, len(bboxes))
        best_ious = np.maximum.accumulate(np.vstack([np.zeros(len(gts)), ious]))[taken]
        return dict(
            objects=groups.sum(axis=1),
            found=found.sum(axis=2),
            best_iou=best_ious.sum(axis=1),
            false_share=np.append(0, false.cumsum())[taken] / np.maximum(taken, 1),
            has_proposals=np.array(len(bboxes) > 0),
        )

    def compute_metrics(self, results: List[Dict[str, np.ndarray]]) -> Dict[str, float]:
        """Sum up the pictures' counts.

        Args:
            results (list[dict]): What ``process`` counted in each picture.

        Returns:
            dict[str, float]: The metrics by name.
        """
        total = {key: np.sum([result[key] for result in results], axis=0) for key in results[0]}
        objects = total['objects'][:, None]
        recall = np.where(objects > 0, total['found'] / np.maximum(objects, 1), -1.0)  # (T, areas, budgets)
        false_share = total['false_share'] / max(total['has_proposals'], 1)
        columns = {num: int(np.searchsorted(self.budgets, num)) for num in self.proposal_nums}
        metrics = {}
        for area, (suffix, _, _) in enumerate(AREAS):
            for num, column in columns.items():
                metrics[f'AR{suffix}@{num}'] = float(recall[:, area, column].mean())
        for thr in self.iou_thrs:
            row = int(np.abs(IOU_THRS - thr).argmin())
            metrics.update({f'recall@{num}@{thr:g}': float(recall[row, 0, col]) for num, col in columns.items()})
        best_iou = total['best_iou'] / total['objects'][0] if total['objects'][0] else np.full(len(self.budgets), -1.0)
        metrics.update({f'ABO@{num}': float(best_iou[column]) for num, column in columns.items()})
        metrics.update({f'FP@{num}': float(false_share[column]) for num, column in columns.items()})
        if self.out_file is not None:
            self._write(Path(self.out_file), metrics, recall, false_share, total['objects'])
        MMLogger.get_current_instance().info('\n' + self._table(metrics))
        return metrics

    def _write(
        self, path: Path, metrics: dict, recall: np.ndarray, false_share: np.ndarray, objects: np.ndarray
    ) -> None:
        """Write metrics and curves; ``recall`` is indexed by IoU threshold, area and budget."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = dict(
            metrics=metrics,
            proposal_nums=self.budgets.tolist(),
            iou_thrs=IOU_THRS.round(2).tolist(),
            areas=[suffix.lstrip('_') or 'all' for suffix, _, _ in AREAS],
            objects=objects.tolist(),
            recall=recall.tolist(),
            false_share=false_share.tolist(),
        )
        path.write_text(json.dumps(content))

    def _table(self, metrics: Dict[str, float]) -> str:
        names = (
            [f'AR{suffix}' for suffix, _, _ in AREAS] + [f'recall@IoU {thr:g}' for thr in self.iou_thrs] + ['ABO', 'FP']
        )
        cells = iter(f'{100 * value:.1f}' if value >= 0 else '-' for value in metrics.values())
        table = Table('%', *(f'@{num}' for num in self.proposal_nums))
        for name in names:
            table.add_row(name, *(next(cells) for _ in self.proposal_nums))
        console = Console(width=100)
        with console.capture() as capture:
            console.print(table)
        return capture.get()


def _bboxes(instances: dict) -> torch.Tensor:
    bboxes = instances['bboxes']
    return getattr(bboxes, 'tensor', bboxes).cpu().reshape(-1, 4)
