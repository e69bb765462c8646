"""Write a page to browse what an RPN gets wrong on the validation pictures, and what its nRPN proposes.

    python tools/analysis_tools/browse_hard_negatives.py CONFIG CHECKPOINT
    python tools/analysis_tools/browse_hard_negatives.py CONFIG CHECKPOINT --baseline STOCK_CONFIG STOCK_CHECKPOINT

One HTML file that opens in any browser, without a network: objects, missed objects, false positives and nRPN's regions
of each picture, the worst first. With a baseline, both side by side: which false positives are gone or new, which
objects gained or lost. Any detector with an RPN will do; without an nRPN in the checkpoint there are no regions.
"""

import argparse
import sys
from pathlib import Path
from typing import Tuple

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from rich.progress import track
from torch import nn

from mmdet_nrpn.utils import load_weights, rpn_of
from mmdet_nrpn.visualization import Look, look
from mmdet_nrpn.visualization.page import entry, write_page


def build(config: Path, checkpoint: Path, device: str) -> Tuple[Config, nn.Module, bool]:
    """A config, its model with the checkpoint's weights, and whether an nRPN is among them.

    Raises:
        ValueError: If the checkpoint does not fit.
    """
    cfg = Config.fromfile(config)
    if 'custom_imports' in cfg:
        import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    model = MODELS.build(cfg.model).to(device).eval()
    state = load_weights(model, checkpoint)
    has_nrpn = any('nrpn_head.' in key for key in state) and getattr(rpn_of(model), 'nrpn_head', None) is not None
    return cfg, model, has_nrpn


@torch.no_grad()
def look_at(model: nn.Module, data: dict, has_nrpn: bool) -> Look:
    """One picture, in pixels of the original."""
    batch = model.data_preprocessor(data, False)
    x, head = model.extract_feat(batch['inputs']), rpn_of(model)
    if has_nrpn:
        outs, hidden = head.forward_with_hidden(x)
        return look(head, outs, head.forward_nrpn(x, hidden), batch['data_samples'], rescale=True)[0]
    return look(head, head(x), None, batch['data_samples'], rescale=True)[0]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument(
        '--baseline', type=Path, nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='to be compared with, on the same data'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('hard_negatives.html'), help='page to write (default: %(default)s)'
    )
    parser.add_argument(
        '--pictures', type=int, default=500, help='so many of the worst are shown; all count (default: %(default)s)'
    )
    args = parser.parse_args()
    for path in (args.config, args.checkpoint, *(args.baseline or [])):
        if not path.is_file():
            parser.error(f'{path} is not there')
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
    loader = dict(loaded[-1][0].val_dataloader, batch_size=1)
    pictures = []
    for data in track(Runner.build_dataloader(loader, seed=0), 'Looking at the validation pictures'):
        sample, image = data['data_samples'][0], data['inputs'][0]
        if 'bboxes' not in sample.gt_instances or len(image) != 3:
            sys.exit(
                f'{args.config}: val_dataloader must give pictures with their objects; its pipeline needs '
                "dict(type='LoadAnnotations', with_bbox=True) after resizing"
            )
        looks = [look_at(model, data, has_nrpn) for _, model, has_nrpn in loaded]
        height, width = sample.ori_shape
        image = image.permute(1, 2, 0).numpy()
        pictures.append(entry(Path(sample.img_path).name, image, width, height, looks, [has for *_, has in loaded]))
    stems = [config.stem for config, _ in files]
    names = stems if len(set(stems)) == len(stems) else [str(checkpoint) for _, checkpoint in files]
    write_page(pictures, names, args.out, args.pictures)
    print(f'{len(pictures)} pictures, {args.out.stat().st_size / 2**20:.1f} MiB: open {args.out} in a browser')


if __name__ == '__main__':
    main()
