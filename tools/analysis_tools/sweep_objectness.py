"""Measure what the RPN's objectness would bring to the scores of a trained detector, in one pass over validation data.

    python tools/analysis_tools/sweep_objectness.py CONFIG CHECKPOINT --weights 0 0.5 1 --out objectness.png

The detector is trained, with MMDetection's own config, which need not name this package; weight 0 measures it as it is.
Each weight is measured by the config's val_evaluator, and by false detections per image (FROCMetric, at an IoU of 0.5
if the config names none). What its evaluators write is in a folder of the figure's name. Choose a weight, and write it
into the config as model.test_cfg.rcnn.objectness_weight, with ObjectnessRoIHead.
"""

import sys
from pathlib import Path
from typing import List

import pandas as pd
import torch
from matplotlib.figure import Figure
from mmdet.models.detectors import TwoStagePanopticSegmentor
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from rich.progress import track
from torch.utils.data import Dataset

from mmdet_nrpn import FROCMetric, ObjectnessMixin
from mmdet_nrpn.evaluation import GroundTruth

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from arguments import Parser, at_least, new_file, told
from benchmark.report import OTHERS
from benchmark.runs import redirected
from detectors import Detector, build, read_config, require_detector

FALSE_DETECTIONS = {
    'froc/mean_recall': 'mean recall at 1/8 to 8\nfalse detections per image',
    'froc/FPPI@0.5': 'false detections per image\nat a recall of 0.5',
}
MOST_COLUMNS = 4  # of the config's evaluators; the file has all


def with_objectness(head: BaseRoIHead) -> ObjectnessMixin:
    """Let a RoI head score with the objectness.

    Raises:
        ValueError: If its class chooses boxes in a way of its own.
    """
    if not isinstance(head, ObjectnessMixin):
        if type(head).predict_bbox not in (StandardRoIHead.predict_bbox, CascadeRoIHead.predict_bbox):
            raise ValueError(
                f'model.roi_head.type={type(head).__name__!r} chooses boxes in a way of its own; objectness joins the '
                'scores of StandardRoIHead, CascadeRoIHead and those that choose as they do'
            )
        head.__class__ = type(f'Objectness{type(head).__name__}', (ObjectnessMixin, type(head)), {})
    return head


def build_evaluators(cfg: Config, dataset: Dataset, folder: Path) -> List[Evaluator]:
    """False detections, and the config's own, which write to a folder, for use outside of a runner."""
    # two, for the config may name a FROCMetric itself
    own = Runner.build_evaluator(None, redirected(cfg.val_evaluator, folder))
    evaluators, ground_truth = [Evaluator(FROCMetric()), own], GroundTruth(dataset)
    for metric in (metric for evaluator in evaluators for metric in evaluator.metrics):
        metric.dataset_meta = dataset.metainfo
        if hasattr(metric, 'ground_truth'):
            metric.ground_truth = ground_truth
    return evaluators


@torch.no_grad()
def sweep(detector: Detector, weights: List[float], folder: Path) -> pd.DataFrame:
    """Measure a detector with each weight of the objectness; features and proposals are computed once.

    A row per weight has what the config's evaluators report, which write to the folder, and false detections. A
    ValueError tells if an image's objects are not known in pixels of the original image, or the detector is of a class
    that joins no objectness.
    """
    model, head = detector.model, with_objectness(detector.model.roi_head)
    if isinstance(model, TwoStagePanopticSegmentor):
        raise ValueError(f'model.type={type(model).__name__!r} returns segments; give a detector of boxes')
    loader = Runner.build_dataloader(detector.cfg.val_dataloader, seed=0)
    evaluators = {w: build_evaluators(detector.cfg, loader.dataset, folder / f'weight{w:g}') for w in weights}
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


def first_columns(table: pd.DataFrame) -> List[str]:
    """Of the config's evaluators: mAP, which may stand behind those of classes, or what they report first."""
    of_config = [name for name in table if not name.startswith('froc/')]
    return [name for name in of_config if OTHERS.search(name)] or of_config[:MOST_COLUMNS]


def draw(table: pd.DataFrame, path: Path) -> None:
    """mAP and false detections over the weights."""
    labels = {**{name: name for name in first_columns(table)[:1]}, **FALSE_DETECTIONS}
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
        cfg = read_config(args.config)
        require_detector(cfg)
        for key in ('model.rpn_head', 'model.roi_head', 'val_dataloader', 'val_evaluator'):
            *inside, name = key.split('.')
            if not (cfg.model if inside else cfg).get(name):
                raise ValueError(f'{key} is not there; give the config of a two-stage detector and its validation data')
        table = sweep(build(args.config, args.checkpoint), sorted(set(args.weights)), args.out.with_suffix(''))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(table, args.out)
    table.to_csv(numbers)
    print(table[[*first_columns(table), *FALSE_DETECTIONS]].to_string(float_format='%.4f'))
    print(f'The figure: {args.out}; all numbers: {numbers}')


if __name__ == '__main__':
    main()
