"""Measure a checkpoint with its nRPN folded into the RPN by several factors, in one pass over the validation data.

    python tools/fold/sweep.py CONFIG CHECKPOINT --folds 0 0.5 1 --out fold.png

Draws AR@10 and AR@100 against FP@10 and FP@100, a point per factor, and writes the numbers beside the figure. Choose a
factor from it and publish with tools/fold/strip.py --fold.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Dict, List

from matplotlib.figure import Figure
from mmengine.runner import Runner

from mmdet_nrpn import NRPNHead, ProposalMetric
from mmdet_nrpn.evaluation import GroundTruth
from mmdet_nrpn.utils import in_float32, rpn_of

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import existing_file, figure_beside, non_negative
from detectors import Detector, build, run

BUDGETS = (10, 100)


def sweep(detector: Detector, folds: List[float]) -> Dict[float, dict]:
    """Metrics of the RPN's proposals by the factor that its nRPN is folded by.

    Args:
        detector (Detector): With an ``NRPNHead``.
        folds (list[float]): The factors A: the RPN's logits become ``s - A * n``.

    Returns:
        dict[float, dict]: What ``ProposalMetric`` reports.

    Raises:
        ValueError: If an image's objects are not known in pixels of the original image.
    """
    loader = Runner.build_dataloader(detector.cfg.val_dataloader, seed=0)
    metrics = {fold: ProposalMetric() for fold in folds}
    ground_truth = GroundTruth(loader.dataset)
    for metric in metrics.values():
        metric.ground_truth = ground_truth
    for batch, (of_rpn,) in run([detector], loader, 'Measuring'):
        cls_scores, bbox_preds = in_float32(of_rpn.outs)
        metas = [sample.metainfo for sample in of_rpn.data_samples]
        for fold, metric in metrics.items():
            folded = [score - fold * n.float() for score, n in zip(cls_scores, of_rpn.nrpn_outs)]
            results = of_rpn.head.predict_by_feat(folded, bbox_preds, batch_img_metas=metas, rescale=True)
            for sample, result in zip(of_rpn.data_samples, results):
                sample.pred_instances = result
                metric.process(batch, [sample.to_dict()])
    return {
        fold: {name.split('/')[-1]: value for name, value in metric.evaluate(len(loader.dataset)).items()}
        for fold, metric in metrics.items()
    }


def draw(results: Dict[float, dict], path: Path) -> None:
    """AR against FP at both budgets, a point per factor."""
    figure = Figure(figsize=(10, 4.5), layout='constrained')
    for axis, budget in zip(figure.subplots(1, 2), BUDGETS):
        x, y = ([100 * metrics[f'{name}@{budget}'] for metrics in results.values()] for name in ('FP', 'AR'))
        axis.plot(x, y, '.-', markersize=9)
        for fold, *place in zip(results, x, y):
            axis.annotate(f'{fold:g}', place, xytext=(4, 4), textcoords='offset points')
        axis.set(
            xlabel=f'FP@{budget}: false positives among the top {budget}, %', ylabel=f'AR@{budget}: average recall, %'
        )
        axis.grid(alpha=0.3)
    figure.suptitle('The nRPN folded into the RPN by the factor at each point; better is up and to the left')
    figure.savefig(path, dpi=110)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=existing_file)
    parser.add_argument('checkpoint', type=existing_file)
    parser.add_argument(
        '--folds', type=non_negative, nargs='+', default=[0, 0.25, 0.5, 0.75, 1, 1.5],
        help='factors (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=figure_beside('.json'), default='fold.png', help='figure to write (default: %(default)s)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        detector = build(args.config, args.checkpoint)
        if not detector.has_nrpn or not isinstance(rpn_of(detector.model).nrpn_head, NRPNHead):
            raise ValueError(
                f'{args.checkpoint} holds no NRPNHead to fold; tools/fold/fit.py fits one to a trained RPN'
            )
        if detector.cfg.get('val_dataloader') is None:
            raise ValueError(f'{args.config} has no val_dataloader, which the measuring needs')
        results = sweep(detector, sorted(set(args.folds)))
    except ValueError as error:
        sys.exit(str(error))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(results, args.out)
    table = args.out.with_suffix('.json')
    table.write_text(json.dumps({f'{fold:g}': metrics for fold, metrics in results.items()}, indent=1))
    print('fold   ' + '  '.join(f'{name}@{budget:<4}' for name in ('AR', 'FP') for budget in BUDGETS))
    for fold, metrics in results.items():
        numbers = (100 * metrics[f'{name}@{budget}'] for name in ('AR', 'FP') for budget in BUDGETS)
        print(f'{fold:<5g}' + '  '.join(f'{number:7.1f}' for number in numbers))
    print(f'The figure: {args.out}; all numbers: {table}')


if __name__ == '__main__':
    main()
