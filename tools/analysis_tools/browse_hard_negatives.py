"""Write a page to browse what an RPN gets wrong on the validation images, and what its nRPN proposes.

    python tools/analysis_tools/browse_hard_negatives.py CONFIG CHECKPOINT
    python tools/analysis_tools/browse_hard_negatives.py CONFIG CHECKPOINT --baseline STOCK_CONFIG STOCK_CHECKPOINT

One HTML file that opens in any browser, without a network: objects, missed objects, false positives and nRPN's regions
of each image, the worst first. With a baseline, both side by side: which false positives are gone or new, which
objects gained or lost. Any detector with an RPNHead will do; without an nRPN in the checkpoint there are no regions.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import List, Tuple

import torch
from hard_negatives_page import image_entry, write_page
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from rich.progress import track
from torch import nn

from mmdet_nrpn.evaluation import GroundTruth, ProposalErrors, find_proposal_errors
from mmdet_nrpn.utils import can_become_file, load_weights, rpn_of

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the laboratory's configs import lab from there
from arguments import at_least, existing_file


def build(config: Path, checkpoint: Path, device: str) -> Tuple[Config, nn.Module, bool]:
    """A config, its model with the checkpoint's weights, and whether an nRPN is among them.

    Raises:
        ValueError: If the checkpoint does not fit, or the model has no RPN of its own.
    """
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    model = MODELS.build(cfg.model).to(device).eval()
    try:
        rpn = rpn_of(model)
    except ValueError as error:
        raise ValueError(f'{config}: {error}; give the config of a detector with one, and its checkpoint') from None
    state = load_weights(model, checkpoint)['state_dict']
    has_nrpn = any('nrpn_head.' in key for key in state) and getattr(rpn, 'nrpn_head', None) is not None
    return cfg, model, has_nrpn


@torch.no_grad()
def errors_of_image(model: nn.Module, data: dict, has_nrpn: bool) -> ProposalErrors:
    """What the RPN gets wrong on a batch of one image, in pixels of the original image."""
    batch = model.data_preprocessor(data, False)
    x, head = model.extract_feat(batch['inputs']), rpn_of(model)
    if has_nrpn:
        outs, hidden = head.forward_with_hidden(x)
        nrpn_outs = head.forward_nrpn(x, hidden)
    else:
        outs, nrpn_outs = head(x), None
    return find_proposal_errors(head, outs, nrpn_outs, batch['data_samples'], rescale=True)[0]


def below_common_folder(paths: List[str]) -> List[str]:
    """File names, with as much of the folders as tells images of the same name in several folders apart."""
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return [os.path.relpath(path, folder) for path in paths]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=existing_file)
    parser.add_argument('checkpoint', type=existing_file)
    parser.add_argument(
        '--baseline',
        type=existing_file,
        nargs=2,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='to be compared with, on the same data',
    )
    parser.add_argument(
        '--out', type=Path, default=Path('hard_negatives.html'), help='page to write (default: %(default)s)'
    )
    parser.add_argument(
        '--images',
        type=at_least(1),
        default=500,
        help='so many of the worst are shown; all count (default: %(default)s)',
    )
    args = parser.parse_args()
    if not can_become_file(args.out):
        parser.error(f'--out must name a file, no folder, in a folder, got {args.out}')
    return args


def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    files = [*([args.baseline] if args.baseline else []), (args.config, args.checkpoint)]
    try:
        loaded = [build(*pair, device) for pair in files]
    except ValueError as error:
        sys.exit(str(error))
    # of the config that is looked at, also for the baseline
    loader = loaded[-1][0].get('val_dataloader')
    if loader is None:
        sys.exit(f'{args.config}: there are no images to look at; give it a val_dataloader')
    loader = Runner.build_dataloader(dict(loader, batch_size=1), seed=0)
    ground_truth = GroundTruth(loader.dataset)
    images, paths = [], []
    for data in track(loader, 'Looking at the validation images'):
        sample, image = data['data_samples'][0], data['inputs'][0]
        if not isinstance(image, torch.Tensor):
            sys.exit(f'{args.config}: val_dataloader gives no images, so there is nothing to show')
        try:
            gt_bboxes, ignored_bboxes = ground_truth(sample.to_dict())
        except ValueError as error:
            sys.exit(f'{args.config}: val_dataloader: {error}')
        sample.gt_instances = InstanceData(bboxes=torch.tensor(gt_bboxes, dtype=torch.float32))
        sample.ignored_instances = InstanceData(bboxes=torch.tensor(ignored_bboxes, dtype=torch.float32))
        errors = [errors_of_image(model, data, has_nrpn) for _, model, has_nrpn in loaded]
        paths.append(str(sample.get('img_path') or sample.get('img_id')))
        height, width = sample.ori_shape[:2]
        pixels = image.permute(1, 2, 0).numpy()
        images.append(image_entry('', pixels, width, height, errors, [has for *_, has in loaded]))
    if not images:
        sys.exit(f'{args.config}: val_dataloader has no image; check its ann_file and data_prefix')
    for entry, name in zip(images, below_common_folder(paths)):
        entry['name'] = name
    stems = [config.stem for config, _ in files]
    names = stems if len(set(stems)) == len(stems) else [str(checkpoint) for _, checkpoint in files]
    write_page(images, names, args.out, args.images)
    print(f'{len(images)} images, {args.out.stat().st_size / 2**20:.1f} MiB: open {args.out} in a browser')


if __name__ == '__main__':
    main()
