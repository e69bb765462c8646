"""Time ProposalMetric against pycocotools' COCOeval on the same synthetic proposals, and check that both agree.

python lab/scripts/benchmark_metric.py --images 1000 --proposals 1000
"""

import argparse
import contextlib
import io
import time

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_nrpn import ProposalMetric

NUMS = (10, 50, 100, 300, 1000)


def make_image(num: int, rng: np.random.Generator) -> tuple:
    """Objects (G, 4) as (x, y, w, h), proposals (num, 4), a third of them around objects, and scores (num,)."""
    num_gts = rng.integers(1, 12)
    gts = np.concatenate([rng.uniform(0, 500, (num_gts, 2)), np.exp(rng.uniform(2, 6, (num_gts, 2)))], axis=1)
    proposals = np.concatenate([rng.uniform(0, 500, (num, 2)), np.exp(rng.uniform(2, 6, (num, 2)))], axis=1)
    around = num // 3
    proposals[:around] = gts[rng.integers(0, num_gts, around)] * rng.normal(1, 0.15, (around, 4)).clip(0.5)
    return gts, rng.permutation(proposals).astype(np.float32), rng.random(num).astype(np.float32)


def by_cocoeval(images: list) -> float:
    """AR@1000."""
    annotations, results = [], []
    for image_id, (gts, proposals, scores) in enumerate(images, 1):
        for box in gts.tolist():
            annotation = dict(id=len(annotations) + 1, image_id=image_id, category_id=1, bbox=box, iscrowd=0)
            annotations.append(dict(annotation, area=box[2] * box[3]))
        for box, score in zip(proposals.astype(float).tolist(), scores.tolist()):
            results.append(dict(image_id=image_id, category_id=1, bbox=box, score=score))
    coco = COCO()
    entries = [dict(id=i + 1) for i in range(len(images))]
    coco.dataset = dict(images=entries, annotations=annotations, categories=[dict(id=1)])
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(results), 'bbox')
        evaluator.params.useCats, evaluator.params.maxDets = 0, list(NUMS)
        evaluator.evaluate()
        evaluator.accumulate()
    return float(evaluator.eval['recall'][:, 0, 0, -1].mean())


def by_proposal_metric(images: list) -> float:
    """AR@1000."""
    metric = ProposalMetric(proposal_nums=NUMS)
    for gts, proposals, scores in images:
        gt_bboxes, bboxes = (np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1) for b in (gts, proposals))
        sample = dict(
            gt_instances=dict(bboxes=torch.tensor(gt_bboxes)),
            pred_instances=dict(bboxes=torch.tensor(bboxes), scores=torch.tensor(scores)),
        )
        metric.process(None, [sample])
    return metric.evaluate(len(images))['proposal/AR@1000']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=1000, help='default: %(default)s')
    parser.add_argument('--proposals', type=int, default=1000, help='per image (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='both in turn; medians are told (default: %(default)s)')
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    images = [make_image(args.proposals, rng) for _ in range(args.images)]
    seconds = {by_proposal_metric: [], by_cocoeval: []}
    for number in range(args.rounds):
        values = {}
        for measure, times in seconds.items():
            start = time.perf_counter()
            values[measure] = measure(images)
            times.append(time.perf_counter() - start)
        ours, theirs = values.values()
        assert abs(ours - theirs) < 1e-6, f'AR@1000 differs: {ours} and {theirs}'
        ratios = [b / a for a, b in zip(*seconds.values())]
        print(f'round {number + 1}: {seconds[by_proposal_metric][-1]:.1f} s and {seconds[by_cocoeval][-1]:.1f} s')
    print(
        f'{args.images} images of {args.proposals} proposals: ProposalMetric '
        f'{np.median(seconds[by_proposal_metric]):.2f} s, COCOeval {np.median(seconds[by_cocoeval]):.2f} s, '
        f'{np.median(ratios):.1f} times faster ({min(ratios):.1f} to {max(ratios):.1f}); AR@1000 agrees to 1e-6'
    )


if __name__ == '__main__':
    main()
