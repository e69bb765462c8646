"""Measure a checkpoint with its nRPN folded into the RPN by several factors, in one pass over the validation data.

    python tools/fold/sweep.py CONFIG CHECKPOINT --folds 0 0.5 1 --out fold.png

Draws AR@10 and AR@100 against FP@10 and FP@100, a point per factor, and writes the numbers beside the figure. Choose a
factor from it and publish with tools/fold/strip.py --fold.
"""

import sys
from pathlib import Path
from typing import List

import pandas as pd
from matplotlib.figure import Figure
from mmdet.utils import InstanceList
from mmengine.runner import Runner

from mmdet_nrpn import NRPNHead, ProposalMetric
from mmdet_nrpn.evaluation import GroundTruth
from mmdet_nrpn.utils import in_float32, rpn_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from arguments import Parser, at_least, new_file, told
from detectors import Detector, RPNOutputs, build, run

BUDGETS = (10, 100)


def folded(of_rpn: RPNOutputs, fold: float) -> InstanceList:
    """The proposals of a batch with the nRPN folded in by a factor, best first, in pixels of the original image."""
    cls_scores, bbox_preds = in_float32(of_rpn.outs)
    if fold:  # without an nRPN there is 0 alone
        cls_scores = [score - fold * n.float() for score, n in zip(cls_scores, of_rpn.nrpn_outs)]
    metas = [sample.metainfo for sample in of_rpn.data_samples]
    return of_rpn.head.predict_by_feat(cls_scores, bbox_preds, batch_img_metas=metas, rescale=True)


def sweep(detector: Detector, folds: List[float]) -> pd.DataFrame:
    """What ``ProposalMetric`` reports, a row per factor A: the RPN's logits ``s`` become ``s - A * n``.

    Raises:
        ValueError: If an image's objects are not known in pixels of the original image.
    """
    loader = Runner.build_dataloader(detector.cfg.val_dataloader, seed=0)
    metrics = {fold: ProposalMetric() for fold in folds}
    ground_truth = GroundTruth(loader.dataset)
    for metric in metrics.values():
        metric.ground_truth = ground_truth
    for batch, (of_rpn,) in run([detector], loader, 'Measuring'):
        for fold, metric in metrics.items():
            for sample, proposals in zip(of_rpn.data_samples, folded(of_rpn, fold)):
                sample.pred_instances = proposals
                metric.process(batch, [sample.to_dict()])
    measured = {f'{fold:g}': metric.evaluate(len(loader.dataset)) for fold, metric in metrics.items()}
    return pd.DataFrame(measured).T.rename(columns=lambda name: name.split('/')[-1]).rename_axis('fold')


def draw(results: pd.DataFrame, path: Path) -> None:
    """AR against FP at both budgets, a point per factor."""
    figure = Figure(figsize=(10, 4.5), layout='constrained')
    for axis, budget in zip(figure.subplots(1, 2), BUDGETS):
        points = 100 * results[[f'FP@{budget}', f'AR@{budget}']]
        axis.plot(*points.to_numpy().T, '.-', markersize=9)
        for fold, *place in points.itertuples():
            axis.annotate(fold, place, xytext=(4, 4), textcoords='offset points')
        axis.set(
            xlabel=f'FP@{budget}: false positives among the top {budget}, %', ylabel=f'AR@{budget}: average recall, %'
        )
        axis.grid(alpha=0.3)
    figure.suptitle('The nRPN folded into the RPN by the factor at each point; better is up and to the left')
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = Parser(__doc__, 'config', 'checkpoint')
    factors = [0, 0.25, 0.5, 0.75, 1, 1.5]
    parser.add_argument('--folds', type=at_least(0, float), nargs='+', default=factors, help='factors')
    parser.add_argument('--out', type=new_file('.png', '.svg', '.pdf'), default='fold.png', help='figure to write')
    args = parser.parse_args()
    table = parser.beside(args.out, '.json')
    with told():
        detector = build(args.config, args.checkpoint)
        if not detector.has_nrpn or not isinstance(rpn_of(detector.model).nrpn_head, NRPNHead):
            raise ValueError(
                f'{args.checkpoint} holds no NRPNHead to fold; tools/fold/fit.py fits one to a trained RPN'
            )
        if detector.cfg.get('val_dataloader') is None:
            raise ValueError(f'{args.config} has no val_dataloader, which the measuring needs')
        results = sweep(detector, sorted(set(args.folds)))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(results, args.out)
    results.to_json(table, orient='index', indent=1, double_precision=15)
    shown = [f'{name}@{budget}' for name in ('AR', 'FP') for budget in BUDGETS]
    print((100 * results[shown]).to_string(float_format='%.1f'))
    print(f'The figure: {args.out}; all numbers: {table}')


if __name__ == '__main__':
    main()
