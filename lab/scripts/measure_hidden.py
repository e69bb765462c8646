"""Measure RPNs that were trained with some of VOC's classes labelled, on these and on the hidden ones.

    PYTHONPATH=. python lab/scripts/measure_hidden.py work_dirs/labelled_1-10 data/lab/held_out/val OUT.csv \
      --folds -0.5 0 0.5

The first folder is the benchmark's, of configs whose train_dataloader.dataset.classes are the labelled ones, the second
holds stored features. An RPN with an nRPN is measured with it folded by each factor. OUT.csv gets a line for each, with
``ProposalMetric``'s values for several kinds of objects; a run that has lines there is left out, so the same command
goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path
from typing import Dict, Iterator, Sequence

import torch
from mmdet.datasets import VOCDataset
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.runner import Runner
from mmengine.structures import InstanceData

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
from detectors import Detector, build, run
from fold.sweep import folded

from lab import FeatureDataset
from lab.csv_lines import CSVLines
from mmdet_nrpn import ProposalMetric
from mmdet_nrpn.evaluation import GroundTruth
from mmdet_nrpn.utils import rpn_of

BUDGET = 100
VALUES = ['AR@10', 'AR@100', 'FP@10', 'FP@100']


class Views:
    """Ground truth and metrics, by what counts as an object.

    - ``labelled``: objects of the labelled classes; hidden ones are ignored;
    - ``alone``: the same, and a proposal on a hidden object is false;
    - ``hidden``: objects of the hidden classes; labelled ones are ignored, and proposals on them take their places;
    - ``unseen``: the same without the proposals on labelled objects (OLN, Kim et al., 2022: they do not count into the
      budget).
    """

    def __init__(self, features: Path, labelled: Sequence[str]) -> None:
        hidden = [name for name in VOCDataset.METAINFO['classes'] if name not in labelled]
        classes = dict(
            labelled=dict(classes=labelled, ignore_others=True),
            alone=dict(classes=labelled),
            hidden=dict(classes=hidden, ignore_others=True),
        )
        of_view = {name: GroundTruth(FeatureDataset([features], **chosen)) for name, chosen in classes.items()}
        self.ground_truth = dict(of_view, unseen=of_view['hidden'])

    def metrics(self) -> Dict[str, ProposalMetric]:
        found = {name: ProposalMetric((10, BUDGET)) for name in self.ground_truth}
        for name, metric in found.items():
            metric.ground_truth = self.ground_truth[name]
        return found

    def process(self, metrics: Dict[str, ProposalMetric], sample: DetDataSample, proposals: InstanceData) -> None:
        given = DetDataSample(metainfo=sample.metainfo)  # its objects are those of all classes
        kept = dict.fromkeys(metrics, proposals)
        kept['unseen'] = self._off_labelled(proposals, given.to_dict())
        for name, metric in metrics.items():
            given.pred_instances = kept[name][:BUDGET]
            metric.process(None, [given.to_dict()])

    def _off_labelled(self, proposals: InstanceData, sample: dict) -> InstanceData:
        """Proposals that lie on no labelled object by an IoU of 0.5, or fit a hidden one better."""
        labelled, hidden = (
            bbox_overlaps(proposals.bboxes, torch.from_numpy(self.ground_truth[name](sample)[0]).float())
            for name in ('alone', 'hidden')
        )
        best = [torch.cat([ious, ious.new_zeros(len(ious), 1)], dim=1).amax(1) for ious in (labelled, hidden)]
        return proposals[(best[0] < 0.5) | (best[1] > best[0])]


def measure(detector: Detector, features: Path, folds: Sequence[float]) -> Iterator[dict]:
    """A line for each factor."""
    dataset = dict(type='FeatureDataset', folders=[features])
    loader = Runner.build_dataloader({**detector.cfg.val_dataloader, 'dataset': dataset}, seed=0)
    views = Views(features, detector.cfg.train_dataloader.dataset.classes)
    metrics = {fold: views.metrics() for fold in (folds if detector.has_nrpn else [0.0])}
    for _, (of_rpn,) in run([detector], loader, 'Measuring'):
        for fold, of_fold in metrics.items():
            for sample, proposals in zip(of_rpn.data_samples, folded(of_rpn, fold)):
                views.process(of_fold, sample, proposals)
    for fold, of_fold in metrics.items():
        values = {name: metric.evaluate(len(loader.dataset)) for name, metric in of_fold.items()}
        yield dict(fold=fold, **{f'{n} {key}': values[n][f'proposal/{key}'] for n in values for key in VALUES})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help="the benchmark's folder")
    parser.add_argument('features', type=Path, help='a folder of stored features')
    parser.add_argument('out', type=Path, help='a .csv file')
    parser.add_argument('--folds', type=float, nargs='+', default=[0.0], help='factors')
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    lines = CSVLines(args.out, 6)
    for result in sorted(args.work_dir.glob('*/seed*/result.json')):
        name, seed = result.parts[-3], int(result.parent.name[len('seed') :])
        if lines.has(name=name, seed=seed):
            continue
        print(f'{name}, seed {seed}', flush=True)
        checkpoint = Path((result.parent / 'last_checkpoint').read_text().strip())
        detector = build(result.parent.with_suffix('.py'), checkpoint)
        # of each level; with 2000 the best hundred are the same, and NMS takes three times as long
        rpn_of(detector.model).test_cfg.nms_pre = 500
        measured = measure(detector, args.features, args.folds)
        lines.add(dict(name=name, seed=seed, **line) for line in measured)
    print(f'All numbers: {args.out}')


if __name__ == '__main__':
    main()
