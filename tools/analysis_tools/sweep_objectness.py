"""Measure what the RPN's objectness would bring to the scores of a trained detector, in one pass over validation data.

    python tools/analysis_tools/sweep_objectness.py CONFIG CHECKPOINT --weights 0 0.5 1 --out objectness.png

The detector is trained, with MMDetection's own config, which need not name this package; weight 0 measures it as it is.
Each weight is measured by the config's val_evaluator, and by false detections per image (FROCMetric). Choose one, and
write it into the config as model.test_cfg.rcnn.objectness_weight, with ObjectnessRoIHead.
"""

import sys
from pathlib import Path
from typing import List

import pandas as pd
import torch
from matplotlib.figure import Figure
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from rich.progress import track
from torch.utils.data import Dataset

from mmdet_nrpn import FROCMetric, ObjectnessMixin
from mmdet_nrpn.evaluation import GroundTruth

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import Parser, at_least, new_file, told
from detectors import Detector, build, require_detector

FALSE_DETECTIONS = {
    'froc/mean_recall': 'mean recall at 1/8 to 8\nfalse detections per image',
    'froc/FPPI@0.5': 'false detections per image\nat a recall of 0.5',
}
MOST_COLUMNS = 4  # of the config's evaluators; the file has all


def with_objectness(head: BaseRoIHead) -> ObjectnessMixin:
    """Let a RoI head score with the objectness, whatever its class."""
    if not isinstance(head, ObjectnessMixin):
        head.__class__ = type(f'Objectness{type(head).__name__}', (ObjectnessMixin, type(head)), {})
    return head


def build_evaluators(cfg: Config, dataset: Dataset) -> List[Evaluator]:
    """The config's own, and false detections, for use outside of a runner."""
    # two, for the config may name a FROCMetric itself
    evaluators, ground_truth = [Evaluator(cfg.val_evaluator), Evaluator(FROCMetric())], GroundTruth(dataset)
    for metric in (metric for evaluator in evaluators for metric in evaluator.metrics):
        metric.dataset_meta = dataset.metainfo
        if hasattr(metric, 'ground_truth'):
            metric.ground_truth = ground_truth
    return evaluators


@torch.no_grad()
def sweep(detector: Detector, weights: List[float]) -> pd.DataFrame:
    """Measure a detector with each weight of the objectness; features and proposals are computed once.

    Args:
        detector (Detector): With ``rpn_head`` and ``roi_head``, to which :class:`ObjectnessMixin` applies.
        weights (list[float]): Each at least 0, which is the stock detector.

    Returns:
        pd.DataFrame: A row per weight, with what the config's evaluators report, and ``FROCMetric``.

    Raises:
        ValueError: If an image's objects are not known in pixels of the original image.
    """
    model, loader = detector.model, Runner.build_dataloader(detector.cfg.val_dataloader, seed=0)
    head = with_objectness(model.roi_head)
    evaluators = {weight: build_evaluators(detector.cfg, loader.dataset) for weight in weights}
    for batch in track(loader, 'Measuring'):
        data = model.data_preprocessor(batch, False)
        x, samples = model.extract_feat(data['inputs']), data['data_samples']
        proposals = model.rpn_head.predict(x, samples, rescale=False)
        for weight in weights:
            head.test_cfg.objectness_weight = weight
            detected = model.add_pred_to_datasample(samples, head.predict(x, proposals, samples, rescale=True))
            for evaluator in evaluators[weight]:
                evaluator.process(detected, batch)
    size = len(loader.dataset)
    rows = [{k: v for of_one in evaluators[w] for k, v in of_one.evaluate(size).items()} for w in weights]
    return pd.DataFrame(rows, index=pd.Index(weights, name='weight'))


def draw(table: pd.DataFrame, path: Path) -> None:
    """What the config's first evaluator reports first, and false detections, over the weights."""
    labels = {table.columns[0]: table.columns[0], **FALSE_DETECTIONS}
    figure = Figure(figsize=(12, 4), layout='constrained')
    for axis, (column, label) in zip(figure.subplots(1, len(labels)), labels.items()):
        axis.plot(table.index, table[column], '.-', markersize=9)
        axis.set(xlabel="weight of the RPN's objectness", ylabel=label)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = Parser(__doc__, 'config', 'checkpoint')
    weights = [0, 0.25, 0.5, 0.75, 1]
    parser.add_argument(
        '--weights', type=at_least(0, float), nargs='+', default=weights, help='0 is the detector as it is'
    )
    parser.add_argument(
        '--out', type=new_file('.png', '.svg', '.pdf'), default='objectness.png', help='figure to write'
    )
    args = parser.parse_args()
    numbers = parser.beside(args.out, '.csv')
    with told():
        cfg = Config.fromfile(args.config)
        require_detector(cfg)
        for key in ('model.rpn_head', 'model.roi_head', 'val_dataloader', 'val_evaluator'):
            *inside, name = key.split('.')
            if not (cfg.model if inside else cfg).get(name):
                raise ValueError(f'{key} is not there; give the config of a two-stage detector and its validation data')
        table = sweep(build(args.config, args.checkpoint), sorted(set(args.weights)))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(table, args.out)
    table.to_csv(numbers)
    of_config = [name for name in table if not name.startswith('froc/')][:MOST_COLUMNS]
    print(table[[*of_config, *FALSE_DETECTIONS]].to_string(float_format='%.4f'))
    print(f'The figure: {args.out}; all numbers: {numbers}')


if __name__ == '__main__':
    main()
