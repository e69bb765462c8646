"""Measure proposals that no network made as the benchmark measures an RPN's, on the data that a config validates on.

    python lab/scripts/measure_proposals.py CONFIG WORK_DIR --best-first bing work_dirs/bing \
      --best-last selective-search work_dirs/selective-search

A folder has a file per image, IMAGE.npy with boxes (N, 4), (x1, y1, x2, y2) in pixels of the original image, in their
order. Writes what the benchmark writes: WORK_DIR/runs.csv, and the table that is printed.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Dict

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
from benchmark.execute import environment
from benchmark.report import report

from mmdet_nrpn import ProposalMetric
from mmdet_nrpn.evaluation import GroundTruth


def measure(dataset: BaseDataset, folder: Path, best_last: bool) -> Dict[str, float]:
    """The metrics of a folder's proposals, ranked by their order."""
    metric = ProposalMetric()
    metric.ground_truth = GroundTruth(dataset)
    for index in tqdm(range(len(dataset)), folder.name, mininterval=5):
        info = dataset.get_data_info(index)
        bboxes = torch.from_numpy(np.load(folder / f'{info["img_id"]}.npy')).float()
        scores = torch.arange(len(bboxes)) if best_last else torch.arange(len(bboxes), 0, -1)
        sample = {key: info[key] for key in ('img_id', 'img_path')}
        sample.update(ori_shape=(info['height'], info['width']), pred_instances=dict(bboxes=bboxes, scores=scores))
        metric.process(None, [sample])
    return metric.evaluate(len(dataset))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path)
    parser.add_argument('work_dir', type=Path)
    row = dict(nargs=2, action='append', default=[], metavar=('NAME', 'FOLDER'))
    parser.add_argument('--best-first', **row)
    parser.add_argument('--best-last', **row)
    args = parser.parse_args()
    register_all_modules()
    dataset = DATASETS.build(Config.fromfile(args.config).val_dataloader.dataset)
    rows = [(*given, False) for given in args.best_first] + [(*given, True) for given in args.best_last]
    for name, folder, best_last in rows:
        metrics = measure(dataset, Path(folder), best_last)
        out = args.work_dir / name / 'seed0' / 'result.json'
        out.parent.mkdir(parents=True, exist_ok=True)
        # no config trained them
        result = dict(config='', seed=0, environment=environment(), metrics=metrics)
        out.write_text(json.dumps(result), encoding='utf-8')
    print(report(args.work_dir, [(name, 0) for name, *_ in rows], f'python {shlex.join(sys.argv)}'))


if __name__ == '__main__':
    main()
