import json
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

import numpy as np
from matplotlib.figure import Figure
from mmdet.registry import METRICS
from mmengine.fileio import get_text
from terminaltables import AsciiTable

from ...utils import bboxes_of, check_number
from ..comparable import transforms_of
from ..functional import FROCCurve, froc_curve, match_detections
from .ground_truth_metric import GroundTruthMetric, listed, ranked

RATES = np.array([0.125, 0.25, 0.5, 1, 2, 4, 8])
RECALLS = (0.5, 0.8, 0.9)
MISS_RATES_AT = np.logspace(-2, 0, 9)


@METRICS.register_module()
class FROCMetric(GroundTruthMetric):
    """Recall against false detections per image (free-response ROC), of a detector or an RPN (not in the paper).

    Objects are those of :class:`ProposalMetric`, and matched as in COCOeval: by falling score, each detection takes the
    free object of its class with the highest IoU from the threshold on. One that takes none is false, unless that share
    of its area lies in an ignored object of its class. A score threshold takes all detections of a score or none, of
    all classes alike. Images without objects count. Reported:

    - ``recall@R`` at R = 1/8, 1/4, 1/2, 1, 2, 4 and 8 false detections per image, and ``mean_recall``, their mean, the
      score of LUNA16 (Setio et al., 2017). It is the largest recall at a rate up to R, and the last one where the curve
      ends before R, as in Dollár's toolbox; LUNA16 interpolates linearly;
    - ``LAMR``, log-average miss rate: the geometric mean of 1 - recall, at least 1e-10, at 9 rates evenly spaced in log
      space from 0.01 to 1 (Dollár et al., "Pedestrian Detection: An Evaluation of the State of the Art", 2012);
    - ``FPPI@r``: false detections per image at the highest score threshold with a recall of r,
      which is 0.5, 0.8 and 0.9;
    - ``image_FPR@r``: share of the images without objects, also ignored ones, that have a detection there.

    They are nan where there is no object, no threshold with that recall, or no image without objects. A score of NaN
    or -inf is no detection. MMEngine's ``CheckpointHook`` does not know which way is better: with
    ``save_best='froc/mean_recall'`` write ``rule='greater'``, with the others, which are better lower, ``'less'``.

    Args:
        iou_thrs (float | Sequence[float]): In (0, 1]. Of several, each has its metrics, as in ``LAMR@IoU0.75``.
            Defaults to 0.5.
        classwise (bool): Also report each class, where other classes' objects are none. Defaults to False.
        class_agnostic (bool): Leave classes out, as for an RPN's proposals. Defaults to False.
        out_file (str, optional): Figure of the curve, such as 'froc.png'. Defaults to None.
        collect_device (str): 'cpu' or 'gpu', where processes exchange results. Defaults to 'cpu'.
        prefix (str, optional): Before the names of the metrics. Defaults to 'froc'.

    Attributes:
        ground_truth (GroundTruth): As in :class:`ProposalMetric`.

    Raises:
        ValueError: If an argument is not one of these.

    Example:
        >>> val_evaluator = [dict(type='VOCMetric', metric='mAP'), dict(type='FROCMetric')]
    """

    default_prefix = 'froc'

    def __init__(
        self,
        iou_thrs: Union[float, Sequence[float]] = 0.5,
        classwise: bool = False,
        class_agnostic: bool = False,
        out_file: Optional[str] = None,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ) -> None:
        super().__init__(out_file, collect_device, prefix)
        self._require(listed(iou_thrs), 'iou_thrs must be numbers in (0, 1], such as 0.5 or (0.5, 0.75)', iou_thrs)
        for thr in listed(iou_thrs):
            check_number('FROCMetric', 'iou_thrs', thr, 0, 1, above_low=True)
        self._require(not (classwise and class_agnostic), 'classwise must be False with class_agnostic=True', classwise)
        is_figure = out_file is None or Path(out_file).suffix[1:] in Figure().canvas.get_supported_filetypes()
        self._require(is_figure, 'out_file must end as a figure does, such as froc.png', out_file)
        self.iou_thrs = np.array(list(dict.fromkeys(listed(iou_thrs))), dtype=float)  # without repetition
        self.classwise = classwise
        self.class_agnostic = class_agnostic

    def process(self, data_batch: Optional[dict], data_samples: Sequence[dict]) -> None:
        """Match the detections of each image. Kept are their scores, labels and what they found, but no boxes.

        Args:
            data_batch (dict, optional): As in :class:`ProposalMetric`.
            data_samples (Sequence[dict]): With ``pred_instances`` (``bboxes``, ``scores``, ``labels``) in pixels of
                the original image.

        Raises:
            ValueError: If a sample has no ground truth, it is not known in which pixels, an object has no label, or
                there are no scores.
        """
        for sample, objects, ignored in self._with_objects(data_batch, data_samples):
            detected = sample['pred_instances']
            missing = {'bboxes', 'scores', 'labels'} - {*detected.keys()}
            self._require(not missing, f'pred_instances must have {", ".join(sorted(missing))}', [*detected.keys()])
            has_classes = self.class_agnostic or (objects.labels >= 0).all()
            self._require(
                has_classes, 'objects must have labels; without, set class_agnostic=True', objects.labels.tolist()
            )
            if self.class_agnostic:
                objects, ignored = (group._replace(labels=0 * group.labels - 1) for group in (objects, ignored))
            order = ranked(detected['scores'])
            scores = detected['scores'].cpu()[order].float()
            bboxes, labels = bboxes_of(detected, scores.double())[order], detected['labels'].cpu()[order].numpy()
            state = match_detections(bboxes, labels, objects, ignored, self.iou_thrs)
            gt_labels = np.append(objects.labels, ignored.labels)
            counts = np.arange(len(gt_labels)) < len(objects.labels)
            kept = dict(scores=scores.numpy(), labels=labels, state=state, gt_labels=gt_labels, gt_counts=counts)
            self.results.append(kept)

    def compute_metrics(self, results: List[Dict[str, np.ndarray]]) -> Dict[str, float]:
        """Join the images, and read the metrics from the curves.

        Args:
            results (list[dict]): What ``process`` kept of each image.

        Returns:
            dict[str, float]: The metrics by name; those of a class begin with its name.

        Raises:
            ValueError: If there is no image.
        """
        self._require_images(results)
        joined = {key: np.concatenate([result[key] for result in results], axis=-1) for key in results[0]}
        for image, key in (('image', 'labels'), ('gt_image', 'gt_labels')):
            joined[image] = np.repeat(np.arange(len(results)), [len(result[key]) for result in results])
        labels, gt_labels = joined['labels'], joined['gt_labels']
        if len(labels) and gt_labels.max(initial=0) > labels.max() == 0:
            self._logger().warning('FROCMetric: all detections have label 0; for an RPN, set class_agnostic=True')
        everything = [('', np.full(len(labels), True), np.full(len(gt_labels), True))]
        names = _class_names(self.ground_truth.dataset, self.dataset_meta) if self.classwise else []
        classes = [(f'{name}_', labels == label, gt_labels == label) for label, name in enumerate(names)]
        metrics: Dict[str, float] = {}
        curves: Dict[float, FROCCurve] = {}
        for row, iou_thr in enumerate(self.iou_thrs):
            suffix = f'@IoU{iou_thr:g}' if len(self.iou_thrs) > 1 else ''
            table = []
            for name, dets, gts in everything + classes:
                num_objects = np.count_nonzero(gts & joined['gt_counts'])
                curve = froc_curve(joined['scores'][dets], joined['state'][row, dets], num_objects, len(results))
                curves.setdefault(iou_thr, curve)  # the first is that of all classes
                highest = np.full(len(results), -np.inf)  # score of each image
                np.maximum.at(highest, joined['image'][dets], joined['scores'][dets])
                values = self._values(curve, np.delete(highest, joined['gt_image'][gts]))
                metrics.update({f'{name}{key}{suffix}': float(value) for key, value in values.items()})
                table.append([name[:-1] or 'all', num_objects, *(f'{value:.3f}' for value in values.values())])
            head = ['class', 'objects', *(key.replace('@', '\n@').replace('_', '\n') for key in values)]
            self._logger().info(f'\n{AsciiTable([head, *table], f"IoU {iou_thr:g}").table}')
        if self.out_file is not None:
            _draw(curves, Path(self.out_file))
        return metrics

    def _values(self, curve: FROCCurve, scores_of_empty: np.ndarray) -> Dict[str, float]:
        """Metrics of a curve and of the highest scores in images without objects."""
        recall = curve.recall_at(RATES)
        misses = np.maximum(1 - curve.recall_at(MISS_RATES_AT), 1e-10)
        values = dict(zip((f'recall@{rate:g}' for rate in RATES), recall))
        values.update(mean_recall=recall.mean(), LAMR=np.exp(np.log(misses).mean()))
        for value in RECALLS:
            threshold, values[f'FPPI@{value:g}'] = curve.reaching(value)
            is_known = len(scores_of_empty) and not np.isnan(threshold)
            values[f'image_FPR@{value:g}'] = (scores_of_empty >= threshold).mean() if is_known else np.nan
        return values


def _class_names(dataset: object, meta: Optional[dict]) -> Sequence[str]:
    """By label. CocoDataset numbers labels by the file's categories, in whatever order ``classes`` are."""
    for part in transforms_of(dataset):
        if getattr(part, 'cat_ids', None):
            categories = json.loads(get_text(part.ann_file, backend_args=part.backend_args))['categories']
            names = {category['id']: category['name'] for category in categories}
            return [names[number] for number in part.cat_ids]
    return (meta or {}).get('classes') or ()


def _draw(curves: Dict[float, FROCCurve], path: Path) -> None:
    figure = Figure(layout='constrained')
    axis = figure.subplots()
    for iou_thr, curve in curves.items():
        end = max(curve.fppi[-1], RATES[-1])
        axis.step([*curve.fppi, end], [*curve.recall, curve.recall[-1]], where='post', label=f'IoU {iou_thr:g}')
    axis.set(xscale='log', xlim=(0.01, None), ylim=(0, 1), xlabel='false detections per image', ylabel='recall')
    axis.grid(alpha=0.3)
    axis.legend()
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
