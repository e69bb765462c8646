"""Measure two Faster R-CNNs with each other's proposals: what is the RPN's, and what the second stage's?

    python lab/scripts/swap_proposals.py CONFIG CHECKPOINT OTHER_CONFIG OTHER_CHECKPOINT

Images, preprocessing and metric are those of the first config's validation.
"""

import argparse
import copy
import itertools
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

from mmdet_nrpn.utils import load_weights


@torch.no_grad()
def measure(cfgs: list, checkpoints: list) -> dict:
    """Metrics by (whose proposals, whose features and second stage), 0 or 1 each."""
    models = [MODELS.build(cfg.model).eval().to(get_device()) for cfg in cfgs]
    for model, checkpoint in zip(models, checkpoints):
        load_weights(model, checkpoint)
    loader = Runner.build_dataloader(cfgs[0].val_dataloader, seed=0)
    evaluators = {pair: Evaluator(cfgs[0].val_evaluator) for pair in itertools.product((0, 1), repeat=2)}
    for evaluator in evaluators.values():
        evaluator.dataset_meta = loader.dataset.metainfo
    for data in loader:
        batch = models[0].data_preprocessor(data, False)
        samples, features = batch['data_samples'], [model.extract_feat(batch['inputs']) for model in models]
        proposals = [model.rpn_head.predict(x, samples, rescale=False) for model, x in zip(models, features)]
        for (rpn, second), evaluator in evaluators.items():
            # what a second stage is given, it changes
            given, found = copy.deepcopy(proposals[rpn]), copy.deepcopy(samples)
            results = models[second].roi_head.predict(features[second], given, samples, rescale=True)
            for sample, result in zip(found, results):
                sample.pred_instances = result
            evaluator.process(data_samples=found, data_batch=data)
    return {pair: evaluator.evaluate(len(loader.dataset)) for pair, evaluator in evaluators.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('config', 'checkpoint', 'other_config', 'other_checkpoint'):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    register_all_modules()
    cfgs = [Config.fromfile(path) for path in (args.config, args.other_config)]
    names = [path.parent.name for path in (args.checkpoint, args.other_checkpoint)]
    for (rpn, second), metrics in measure(cfgs, [args.checkpoint, args.other_checkpoint]).items():
        values = ', '.join(f'{name} {value:.3f}' for name, value in metrics.items())
        print(f'proposals of {names[rpn]}, second stage of {names[second]}: {values}')


if __name__ == '__main__':
    main()
