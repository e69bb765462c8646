"""Draw what an RPN gets wrong and what its nRPN proposes as hard negatives, beside the objects.

    python tools/analysis_tools/draw_hard_negatives.py RUN_DIR --out hard_negatives.png

RUN_DIR is the work folder of a training with nRPN; its config and last checkpoint are used.
"""

import argparse
from pathlib import Path

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_state_dict
from mmengine.utils import import_modules_from_strings

from mmdet_nrpn.models.utils import false_positives
from mmdet_nrpn.utils import newest_whole_checkpoint, read_checkpoint
from mmdet_nrpn.visualization import plot_hard_negatives


def rpn_of(model: torch.nn.Module) -> torch.nn.Module:
    """The RPN of a detector: MMDetection's ``RPN`` calls it ``bbox_head``."""
    return model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head


@torch.no_grad()
def look_at(model: torch.nn.Module, data: dict, num: int) -> dict:
    """One picture with its objects, RPN's best-scored false positives and nRPN's best-scored regions.

    Boxes are in pixels of the network's input.
    """
    batch = model.data_preprocessor(pseudo_collate([data]), False)
    sample = batch['data_samples'][0]
    x = model.extract_feat(batch['inputs'])
    head = rpn_of(model)
    scale = x[0].new_tensor(sample.scale_factor).repeat(2)  # test pipelines leave objects in original pixels
    gts, ignored = (instances.bboxes * scale for instances in (sample.gt_instances, sample.ignored_instances))
    (proposals,), (regions,) = (see(x, batch['data_samples']) for see in (head.predict, head.predict_nrpn))
    settings = dict(head.nrpn_head.train_cfg.false_positives, max_num=num)
    mask = false_positives(proposals.bboxes, proposals.scores, gts, ignored, **settings)
    # BGR as loaded and resized, before normalisation
    image = data['inputs'].permute(1, 2, 0).flip(-1).numpy()
    return dict(
        image=image,
        objects=gts.numpy(),
        ignored=ignored.numpy(),
        false_positives=proposals.bboxes[mask].numpy(),
        false_positive_scores=proposals.scores[mask].numpy(),
        regions=regions.bboxes[:num].numpy(),
        region_scores=regions.scores[:num].numpy(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('run_dir', type=Path, help='work folder of a training with nRPN')
    parser.add_argument(
        '--out', type=Path, default=Path('hard_negatives.png'), help='PNG to write (default: %(default)s)'
    )
    parser.add_argument('--pictures', type=int, default=4, help='how many validation pictures (default: %(default)s)')
    parser.add_argument('--num', type=int, default=8, help='boxes of a kind a picture (default: %(default)s)')
    args = parser.parse_args()

    configs = list(args.run_dir.glob('*.py'))
    if len(configs) != 1:
        parser.error(f'{args.run_dir} must hold one config, which a training leaves there; found {len(configs)}')
    cfg = Config.fromfile(configs[0])
    import_modules_from_strings(**cfg.custom_imports)
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model).eval()
    checkpoint = newest_whole_checkpoint(args.run_dir)
    if checkpoint is None:
        parser.error(f'{args.run_dir} holds no checkpoint')
    load_state_dict(model, read_checkpoint(checkpoint)['state_dict'])
    if getattr(rpn_of(model), 'nrpn_head', None) is None:
        parser.error(f'the model of {args.run_dir} has no nRPN')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    pictures = [look_at(model, dataset[i], args.num) for i in range(min(args.pictures, len(dataset)))]
    plot_hard_negatives(pictures, args.out)
    print(f'{len(pictures)} pictures in {args.out}')


if __name__ == '__main__':
    main()
