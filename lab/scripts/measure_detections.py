"""Measure the detections of trained detectors: which proposals they get, and how objectness joins their score.

    PYTHONPATH=. python lab/scripts/measure_detections.py lab/results/detectors.json work_dirs/detectors OUT.csv \
      --joinings product odds --weights 0 0.5 1 --cfg-options val_dataloader.dataset.folders="['data/lab/held_out/val']"

The folder is the benchmark's. Each run is one pass over val_dataloader, with every combination of the options. OUT.csv
gets a line for each; a run that has lines there is left out, so the same command goes on where it stopped.
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator, NamedTuple, Tuple

import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from torch import Tensor, nn
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
from analysis_tools.sweep_objectness import build_evaluators, with_objectness
from benchmark.runs import rows_of_file
from detectors import build_model

from lab.csv_lines import CSVLines
from mmdet_nrpn.models.roi_heads import objectness_roi_head
from mmdet_nrpn.models.roi_heads.objectness_roi_head import join_objectness
from mmdet_nrpn.utils import load_weights


def product(scores: Tensor, objectness: Tensor, weight: float) -> Tensor:
    return scores * objectness[:, None] ** weight


def mean(scores: Tensor, objectness: Tensor, weight: float) -> Tensor:
    """The geometric mean; with a weight of 0.5 that of CenterNet2."""
    return scores ** (1 - weight) * objectness[:, None] ** weight


def logits(scores: Tensor, objectness: Tensor, weight: float) -> Tensor:
    """So many times the objectness's logit, added to those of the classes before the softmax."""
    odds = torch.logit(objectness, eps=1e-7).mul(weight).exp()[:, None]
    joined = torch.cat([scores[:, :-1] * odds, scores[:, -1:]], dim=1)
    return joined / joined.sum(1, keepdim=True)


# the package's own joins the odds of each class alone
JOININGS: Dict[str, Callable] = dict(product=product, mean=mean, logits=logits, odds=join_objectness)


class Setting(NamedTuple):
    """How proposals are chosen, and how detections are scored."""

    nms: float  # IoU threshold of the RPN's NMS
    score_thr: float  # of proposals
    proposals: int  # at most, per image
    joining: str
    weight: float


def settings_of(args: argparse.Namespace) -> Iterator[Setting]:
    chosen = itertools.product(args.nms, args.score_thr, args.proposals, args.joinings, args.weights)
    # a weight of 0 is the stock head, however it joins
    return (Setting(*values) for values in chosen if values[4] or values[3] == args.joinings[0])


@torch.no_grad()
def measure(cfg: Config, model: nn.Module, args: argparse.Namespace) -> Iterator[Tuple[Setting, dict]]:
    """Metrics of one detector by setting."""
    loader = Runner.build_dataloader(cfg.val_dataloader, seed=0)
    evaluators = {setting: build_evaluators(cfg, loader.dataset, args.out.parent) for setting in settings_of(args)}
    count = dict.fromkeys(evaluators, 0)
    for data in tqdm(loader, mininterval=5):
        batch = model.data_preprocessor(data, False)
        x, samples = model.extract_feat(batch['inputs']), batch['data_samples']
        proposals = {}
        for nms in args.nms:
            model.rpn_head.test_cfg.nms.iou_threshold = nms
            proposals[nms] = model.rpn_head.predict(x, samples, rescale=False)
        for setting, of_setting in evaluators.items():
            kept = [of_image[of_image.scores >= setting.score_thr] for of_image in proposals[setting.nms]]
            kept = [of_image[: setting.proposals] for of_image in kept]
            count[setting] += sum(map(len, kept))
            model.roi_head.test_cfg.objectness_weight = setting.weight
            objectness_roi_head.join_objectness = JOININGS[setting.joining]
            results = model.roi_head.predict(x, kept, samples, rescale=True)
            detected = model.add_pred_to_datasample(samples, results)
            for evaluator in of_setting:
                evaluator.process(detected, data)
    for setting, of_setting in evaluators.items():
        metrics = {k: v for evaluator in of_setting for k, v in evaluator.evaluate(len(loader.dataset)).items()}
        yield setting, dict(mean_proposals=count[setting] / len(loader.dataset), **metrics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rows', type=Path, help='the rows of the benchmark')
    parser.add_argument('work_dir', type=Path, help="the benchmark's folder")
    parser.add_argument('out', type=Path, help='a .csv file')
    parser.add_argument('--only', nargs='+', help='names of rows; default: all')
    parser.add_argument('--nms', type=float, nargs='+', default=[0.7])
    parser.add_argument('--score-thr', type=float, nargs='+', default=[0.0])
    parser.add_argument('--proposals', type=int, nargs='+', default=[300])
    parser.add_argument('--joinings', choices=JOININGS, nargs='+', default=['odds'])
    parser.add_argument('--weights', type=float, nargs='+', default=[0.0, 0.5])
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    register_all_modules()
    torch.set_flush_denormal(True)
    lines = CSVLines(args.out, 4)
    for row in rows_of_file(args.rows):
        for checkpoint in sorted((args.work_dir / row.name).glob('seed*/iter_*.pth')):
            seed = int(checkpoint.parent.name[len('seed') :])
            is_last = checkpoint.stem == f'iter_{row.cfg.train_cfg.max_iters}'
            if not is_last or lines.has(row=row.name, seed=seed) or row.name not in (args.only or [row.name]):
                continue
            print(f'{row.name}, seed {seed}', flush=True)
            row.cfg.merge_from_dict(args.cfg_options)
            model = build_model(row.cfg).eval()
            load_weights(model, checkpoint)
            with_objectness(model.roi_head)
            measured = measure(row.cfg, model, args)
            lines.add(dict(row=row.name, seed=seed, **setting._asdict(), **metrics) for setting, metrics in measured)
    print(f'All numbers: {args.out}')


if __name__ == '__main__':
    main()
