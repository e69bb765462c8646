from typing import Dict, List, Optional, Sequence, Union

import numpy as np
import torch
from mmdet.registry import METRICS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.fileio import dump
from terminaltables import AsciiTable

from ...utils import check_number, clip_bboxes, false_positives
from ..functional import match_proposals
from .ground_truth_metric import GroundTruthMetric, listed, ranked

IOU_THRS = np.linspace(0.5, 0.95, 10)
# COCO's, in pixels of the original image: (suffix, from, to), both inclusive as in COCOeval
AREAS = (('', 0, 1e10), ('_s', 0, 32**2), ('_m', 32**2, 96**2), ('_l', 96**2, 1e10))
CURVE_NUMS = (1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000)


@METRICS.register_module()
class ProposalMetric(GroundTruthMetric):
    """Recall of class-agnostic proposals, and how many of them are on no object.

    Ground truth is that of the data set that is evaluated, in pixels of the original image, whatever the test pipeline
    does to it (:class:`~mmdet_nrpn.evaluation.GroundTruth`). Recall is COCOeval's with ``useCats=0``: the mean over
    IoU 0.5 to 0.95 of the share of objects that the best N proposals of each image find. Reported, as shares in
    [0, 1]:

    - ``AR@N``, and ``AR_s@N``, ``AR_m@N``, ``AR_l@N`` for objects below 32², up to 96² and above, by box area;
    - ``recall@N@IoU`` at single thresholds;
    - ``ABO@N``: mean over objects of the IoU of the best of the top N proposals (average best overlap);
    - ``FP@N``: mean over images (those with proposals) of the share of false positives in the top N, as
      :func:`~mmdet_nrpn.utils.false_positives` defines them for the training of nRPN.

    Ignored objects need not be found, and a proposal on one is not false. A score of NaN or -inf is no proposal. A
    recall of no objects is -1, as in COCOeval.

    Args:
        proposal_nums (int | Sequence[int]): Budgets N per image. Defaults to (10, 50, 100, 300, 1000).
        iou_thrs (float | Sequence[float]): Single thresholds to report, out of 0.5, 0.55, …, 0.95. Defaults to
            (0.5, 0.7).
        fp_iou_thr (float): Below this IoU with every object, a proposal is false; in (0, 1]. Defaults to 0.3.
        out_file (str, optional): JSON file for the metrics and the curves behind them. Defaults to None.
        collect_device (str): 'cpu' or 'gpu', where processes exchange results. Defaults to 'cpu'.
        prefix (str, optional): Before the names of the metrics. Defaults to 'proposal'.

    Attributes:
        ground_truth (GroundTruth): Where objects are taken from. A validation or test loop sets it to its own data
            set; elsewhere, the caller does: ``metric.ground_truth = GroundTruth(dataset)``.

    Raises:
        ValueError: If an argument is not one of these.

    Example:
        >>> val_evaluator = dict(_delete_=True, type='ProposalMetric')  # in any stock RPN config
    """

    default_prefix = 'proposal'

    def __init__(
        self,
        proposal_nums: Union[int, Sequence[int]] = (10, 50, 100, 300, 1000),
        iou_thrs: Union[float, Sequence[float]] = (0.5, 0.7),
        fp_iou_thr: float = 0.3,
        out_file: Optional[str] = None,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ) -> None:
        super().__init__(out_file, collect_device, prefix)
        nums, thrs = listed(proposal_nums), listed(iou_thrs)
        self._require(len(nums) > 0, 'proposal_nums must be integers >= 1', proposal_nums)
        for num in nums:
            check_number('ProposalMetric', 'proposal_nums', num, 1, integer=True)
        for thr in thrs:
            check_number('ProposalMetric', 'iou_thrs', thr)
            self._require(np.isclose(thr, IOU_THRS).any(), 'iou_thrs must be out of 0.5, 0.55, ..., 0.95', thr)
        check_number('ProposalMetric', 'fp_iou_thr', fp_iou_thr, 0, 1, above_low=True)
        # without repetition, in the order given
        self.proposal_nums = tuple(dict.fromkeys(int(num) for num in nums))
        self.iou_thrs = tuple(dict.fromkeys(round(float(thr), 2) for thr in thrs))
        self.fp_iou_thr = float(fp_iou_thr)
        self.budgets = np.array(sorted({*self.proposal_nums, *CURVE_NUMS}))

    def process(self, data_batch: Optional[dict], data_samples: Sequence[dict]) -> None:
        """Count what the proposals of each image find; the boxes are not kept.

        Args:
            data_batch (dict, optional): What the samples were made from; with test-time augmentation several views of
                each image.
            data_samples (Sequence[dict]): With ``pred_instances`` (``bboxes``, ``scores``) in pixels of the original
                image. Outside of a validation or test loop also with ground truth; see
                :class:`~mmdet_nrpn.evaluation.GroundTruth`.

        Raises:
            ValueError: If a sample has no ground truth, or it is not known in which pixels.
        """
        for sample, objects, ignored in self._with_objects(data_batch, data_samples):
            order = ranked(sample['pred_instances']['scores'])[: self.budgets[-1]]
            bboxes = sample['pred_instances']['bboxes'].cpu()[order]
            self.results.append(self._count(bboxes, objects.bboxes, ignored.bboxes, sample.get('ori_shape')))

    def _count(
        self, bboxes: torch.Tensor, gt_bboxes: np.ndarray, ignored_bboxes: np.ndarray, ori_shape: Optional[tuple]
    ) -> Dict[str, np.ndarray]:
        # COCOeval multiplies an annotation's width and height. Corners are these plus x and y, rounded; in float32 and
        # up to 4096 pixels, a thousandth of a pixel is what is left of them.
        areas = (gt_bboxes[:, 2:] - gt_bboxes[:, :2]).round(3).prod(axis=1)
        groups = np.array([(areas >= low) & (areas <= high) for _, low, high in AREAS])
        ious = bbox_overlaps(bboxes.double(), torch.from_numpy(gt_bboxes)).numpy()
        ranks = match_proposals(ious, IOU_THRS, groups)
        found = (ranks < len(bboxes))[..., None] & (ranks[..., None] < self.budgets)
        compared = [bboxes, torch.from_numpy(gt_bboxes), torch.from_numpy(ignored_bboxes)]
        if ori_shape is not None:  # proposals are clipped to the image, and annotations need not be
            compared = [clip_bboxes(boxes, ori_shape) for boxes in compared]
        false = false_positives(*compared, self.fp_iou_thr).numpy()
        taken = np.minimum(self.budgets, len(bboxes))
        best_ious = np.maximum.accumulate(np.vstack([np.zeros(len(gt_bboxes)), ious]))[taken]
        return dict(
            objects=groups.sum(axis=1),
            found=found.sum(axis=2),
            best_iou=best_ious.sum(axis=1),
            false_share=np.append(0, false.cumsum())[taken] / np.maximum(taken, 1),
            has_proposals=np.array(len(bboxes) > 0),
        )

    def compute_metrics(self, results: List[Dict[str, np.ndarray]]) -> Dict[str, float]:
        """Sum up the images' counts.

        Args:
            results (list[dict]): What ``process`` counted in each image.

        Returns:
            dict[str, float]: The metrics by name.

        Raises:
            ValueError: If there is no image.
        """
        self._require_images(results)
        total = {key: np.sum([result[key] for result in results], axis=0) for key in results[0]}
        objects = total['objects'][:, None]
        recall = np.where(objects > 0, total['found'] / np.maximum(objects, 1), -1.0)  # (T, areas, budgets)
        false_share = total['false_share'] / max(total['has_proposals'], 1)
        rows = {f'AR{suffix}@{{}}': recall[:, area].mean(axis=0) for area, (suffix, *_) in enumerate(AREAS)}
        rows.update({f'recall@{{}}@{thr:g}': recall[np.abs(IOU_THRS - thr).argmin(), 0] for thr in self.iou_thrs})
        rows['ABO@{}'] = np.where(objects[0] > 0, total['best_iou'] / np.maximum(objects[0], 1), -1.0)
        rows['FP@{}'] = false_share
        columns = np.searchsorted(self.budgets, self.proposal_nums)
        table = [['%', *(f'@{num}' for num in self.proposal_nums)]]
        metrics = {}
        for name, row in rows.items():
            values = row[columns].tolist()
            metrics.update({name.format(num): value for num, value in zip(self.proposal_nums, values)})
            table.append([name.replace('@{}', ''), *(f'{100 * value:.1f}' if value >= 0 else '-' for value in values)])
        logger = self._logger()
        if total['objects'][0] == 0:
            logger.warning(
                f'ProposalMetric: no object in {len(results)} images, so every recall is -1; check ann_file and '
                'metainfo.classes of the data set'
            )
        if self.out_file is not None:
            curves = dict(objects=total['objects'], recall=recall, false_share=false_share)
            areas = [suffix.lstrip('_') or 'all' for suffix, *_ in AREAS]
            axes = dict(proposal_nums=self.budgets, iou_thrs=IOU_THRS.round(2), areas=areas)
            dump(dict(metrics=metrics, **axes, **curves), self.out_file, 'json')
        logger.info('\n' + AsciiTable(table).table)
        return metrics
