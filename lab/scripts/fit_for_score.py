"""Fit an nRPN to trained detectors for the sake of their score, fold it, and measure the detections with objectness.

    PYTHONPATH=. python lab/scripts/fit_for_score.py lab/results/detectors.json work_dirs/detectors stock OUT.csv \
      --labels iou30 iou50 hits --folders data/lab/tune/val --cfg-options val_dataloader.dataset.folders="['data/lab/held_out/val']"

What the nRPN's label is: a proposal's IoU with an object, of 0.3 as in the package or of 0.5; or whether the detection
that the second stage makes of it is right, in class and with an IoU of 0.5. A run that has lines in OUT.csv is left out.
"""  # noqa: E501

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import register_all_modules
from mmengine.config import DictAction
from mmengine.structures import InstanceData

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
sys.path.append(str(Path(__file__).resolve().parent))
from benchmark.runs import rows_of_file
from detectors import build_model
from fold.fit import fit, with_nrpn
from fold.strip import strip
from measure_detections import measure

from lab.csv_lines import CSVLines
from lab.features import FeatureDataset
from mmdet_nrpn.models import HardNegativeRPNHead
from mmdet_nrpn.utils import load_weights


@DATASETS.register_module()
class FeatureDatasetWithClasses(FeatureDataset):
    """Keeps the objects' classes, for the fit sets the labels to 0."""

    def __getitem__(self, idx: int) -> dict:
        item = super().__getitem__(idx)
        objects = item['data_samples'].gt_instances
        objects.classes = objects.labels.clone()
        return item


@MODELS.register_module()
class HitRPNHead(HardNegativeRPNHead):
    """A candidate is true if ``detector``'s second stage makes a right detection of it."""

    detector: torch.nn.Module

    def mine(self, step: tuple) -> tuple:
        mined = super().mine(step)
        hits = torch.stack([self._hits(*image, step) for image in enumerate(zip(mined.bboxes, step.gt_instances))])
        counts = mined.is_true | mined.is_false
        return mined._replace(is_true=hits & counts, is_false=~hits & counts)

    @torch.no_grad()
    def _hits(self, number: int, image: tuple, step: tuple) -> torch.Tensor:
        bboxes, objects = image
        x = tuple(level[number : number + 1] for level in step.x)
        given = dict(x=x, batch_img_metas=[step.img_metas[number]], rcnn_test_cfg=None)
        (raw,) = self.detector.roi_head.predict_bbox(rpn_results_list=[InstanceData(bboxes=bboxes)], **given)
        top = raw.scores[:, :-1].argmax(1)
        detected = raw.bboxes.view(len(bboxes), -1, 4)[torch.arange(len(bboxes)), top]
        right = (bbox_overlaps(detected, objects.bboxes) >= 0.5) & (top[:, None] == objects.classes)
        return right.any(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rows', type=Path, help='the rows of the benchmark')
    parser.add_argument('work_dir', type=Path, help="the benchmark's folder")
    parser.add_argument('row', help='its name')
    parser.add_argument('out', type=Path, help='a .csv file')
    parser.add_argument('--seeds', type=int, nargs='+', default=[5, 6, 7])
    parser.add_argument('--labels', choices=['iou30', 'iou50', 'hits'], nargs='+', default=['iou30', 'iou50', 'hits'])
    parser.add_argument('--folders', nargs='+', required=True, help='stored features to fit on')
    parser.add_argument('--folds', type=float, nargs='+', default=[0.3, 1.0])
    parser.add_argument('--iters', type=int, default=200)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    args.nms, args.score_thr, args.proposals, args.joinings, args.weights = [0.7], [0.0], [300], ['odds'], [0.0, 0.5]
    register_all_modules()
    torch.set_flush_denormal(True)
    lines = CSVLines(args.out, 4)
    (row,) = (row for row in rows_of_file(args.rows) if row.name == args.row)
    row.cfg.merge_from_dict(args.cfg_options)
    for seed in args.seeds:
        checkpoint = args.work_dir / row.name / f'seed{seed}' / f'iter_{row.cfg.train_cfg.max_iters}.pth'
        for label in args.labels:
            if lines.has(label=label, seed=seed):
                continue
            cfg = with_nrpn(row.cfg)
            cfg.train_dataloader.dataset.update(type='FeatureDatasetWithClasses', folders=args.folders)
            cfg.model.rpn_head.nrpn_head.iou_thr = 0.5 if label == 'iou50' else 0.3
            if label == 'hits':
                cfg.model.rpn_head.type = 'HitRPNHead'
                HitRPNHead.detector = build_model(row.cfg).eval()
                load_weights(HitRPNHead.detector, checkpoint)
            fitted, found = fit(cfg, checkpoint, args.iters), []
            for fold in args.folds:
                with TemporaryDirectory() as folder:
                    path = Path(folder) / 'fitted.pth'
                    torch.save(fitted, path)
                    model_cfg = row.cfg.copy()
                    model_cfg.model.roi_head.type = 'ObjectnessRoIHead'
                    model = build_model(model_cfg).eval()
                    torch.save(strip(path, fold), path)
                    load_weights(model, path)
                names = dict(label=label, seed=seed, fold=fold)
                found += [
                    dict(**names, **setting._asdict(), **values) for setting, values in measure(row.cfg, model, args)
                ]
            lines.add(found)
    print(f'All numbers: {args.out}')


if __name__ == '__main__':
    main()
