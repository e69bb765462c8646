"""Fit an nRPN to a trained RPN, to fold it into the RPN's classifier (not in the paper).

    python tools/fold/fit.py CONFIG CHECKPOINT --out work_dirs/fit/fitted.pth

For any detector with an RPN of its own, such as a Faster R-CNN that was trained without this package. Only the nRPN
learns, a 1x1 convolution; the detector's own weights stay as they are. Of a teacher's or a tracker's checkpoint the
detector inside is taken, with the config of that detector. Then tools/fold/sweep.py measures factors to fold it by, and
tools/fold/strip.py --fold writes a checkpoint for the stock config. Both commands are printed at the end.
"""

import argparse
import copy
import shlex
import sys
import warnings
from itertools import islice
from pathlib import Path

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from rich.progress import track

from mmdet_nrpn import HardNegativeRPNHead
from mmdet_nrpn.utils import NRPN_PREFIX, can_become_file, load_weights, rpn_of, without_nrpn

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import at_least, existing_file
from detectors import build_detector, imports_with_package, require_detector, tell_step
from fold.strip import kept_meta
from whole_files import written_beside

# AdamW's step in a weight, times the channels: so the step in a logit does not grow with them.
STEP = 0.64


def with_nrpn(cfg: Config) -> Config:
    """The config with an ``NRPNHead`` beside its RPN.

    Args:
        cfg (Config): A detector's, with the data that it was trained on and that it is measured on.

    Returns:
        Config: A copy.

    Raises:
        ValueError: If the RPN is of a class of its own, or there is none, or nothing to train or to measure with.
    """
    require_detector(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    model = cfg.model
    if model.get('rpn_head') is None:
        raise ValueError(f'model.rpn_head is not there: {model.get("type")} has no RPN of its own')
    head = model.rpn_head
    head_class = MODELS.get(head.type) if isinstance(head.type, str) else head.type
    if head_class not in (RPNHead, HardNegativeRPNHead):
        raise ValueError(
            f'model.rpn_head.type={head.type!r} must be RPNHead or HardNegativeRPNHead to be given an nRPN'
        )
    needed = {
        'model.train_cfg.rpn': (model.get('train_cfg') or {}).get('rpn'),
        'train_dataloader': cfg.get('train_dataloader'),
        'val_dataloader': cfg.get('val_dataloader'),
    }
    missing = [key for key, value in needed.items() if not value]
    if missing:
        raise ValueError(f'{missing[0]} is not there, and it is needed; give the config of the training')
    cfg = copy.deepcopy(cfg)
    cfg.model.rpn_head.pop('nrpn_head', None)  # whose settings another nRPN does not have
    cfg.model.rpn_head.update(type='HardNegativeRPNHead', nrpn_head=dict(type='NRPNHead'), hardness='nrpn')
    if head_class is RPNHead:
        cfg.model.rpn_head.loss_rank = None  # which only a training needs
    cfg.custom_imports = imports_with_package(cfg)
    return cfg


def fit(cfg: Config, path: Path, iters: int) -> dict:
    """A finished detector's checkpoint, with an nRPN that learnt what its RPN gets wrong.

    Args:
        cfg (Config): Of :func:`with_nrpn`.
        path (Path): The checkpoint. An nRPN in it is not used.
        iters (int): Batches of ``cfg.train_dataloader`` to learn from.

    Returns:
        dict: ``state_dict``, the checkpoint's weights and the nRPN's, and ``meta``, what tells where they come from.

    Raises:
        ValueError: If the checkpoint does not fit, the detector has no RPN of its own, or there are no images.
    """
    set_random_seed(0)
    with warnings.catch_warnings():  # that the RPN does not learn from the nRPN is meant here
        warnings.simplefilter('ignore')
        model = build_detector(cfg)
    checkpoint = load_weights(model, path)
    weights = without_nrpn(checkpoint['state_dict'])
    head = rpn_of(model)
    model.eval().requires_grad_(False)
    head.nrpn_head.requires_grad_(True).init_weights()
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    optimizer = torch.optim.AdamW(head.nrpn_head.parameters(), lr=STEP / head.feat_channels, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iters)
    # as many batches as are asked for, in a new order in each pass; the config keeps its own sampler
    endless = dict(type='InfiniteSampler', shuffle=True)
    try:
        loader = Runner.build_dataloader(dict(cfg.train_dataloader, sampler=endless), seed=0)
    except ValueError as error:  # MMEngine's 'need at least one array to concatenate': no images
        raise ValueError(
            f'train_dataloader: {error}; if it has no images, check its ann_file, data_prefix, filter_cfg and classes'
        ) from error
    for number, batch in enumerate(track(islice(loader, iters), 'Fitting', total=iters)):
        tell_step(number)
        data = model.data_preprocessor(batch, True)
        for sample in data['data_samples']:  # to an RPN there is one class, as detectors say before its loss
            sample.gt_instances.labels = torch.zeros_like(sample.gt_instances.labels)
        loss = head.loss(model.extract_feat(data['inputs']), data['data_samples'])['loss_nrpn_cls'][0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    # by the name that the file has for the RPN, which the model may have renamed
    prefix = next(name for name in ('bbox_head.', 'rpn_head.') if f'{name}rpn_cls.weight' in weights)
    nrpn = head.nrpn_head.cpu().state_dict(prefix=f'{prefix}{NRPN_PREFIX}')
    return dict(state_dict={**weights, **nrpn}, meta=kept_meta(checkpoint))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=existing_file)
    parser.add_argument('checkpoint', type=existing_file)
    parser.add_argument('--out', type=Path, required=True, help='checkpoint to write; its config is written beside it')
    parser.add_argument('--iters', type=at_least(1), default=200, help='batches to learn from (default: %(default)s)')
    args = parser.parse_args()
    if not can_become_file(args.out) or args.out.suffix != '.pth':
        parser.error(f'--out {args.out}: name a file in a folder, ending in .pth')
    args.out_config = args.out.with_suffix('.py')
    for path in (args.out, args.out_config):
        if path.exists():
            parser.error(f'--out {args.out}: {path} is there already; name another file')
    return args


def main() -> None:
    args = parse_args()
    try:
        cfg = with_nrpn(Config.fromfile(args.config))
        fitted = fit(cfg, args.checkpoint, args.iters)
    except ValueError as error:
        sys.exit(str(error))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(args.out) as weights, written_beside(args.out_config) as config:
        torch.save(fitted, weights)
        Path(config).write_text(cfg.pretty_text, encoding='utf-8')
    print(f'The fitted checkpoint: {args.out}; its config: {args.out_config}. Choose a factor, and publish with it:')
    figure = args.out.with_name(f'{args.out.stem}_fold.png')
    sweep = ['tools/fold/sweep.py', args.out_config, args.out, '--folds', 0, 0.1, 0.2, 0.3, 0.5]
    publish = ['tools/fold/strip.py', args.out, args.out.parent / 'published', '--fold', 0.2]
    for command in ([*sweep, '--out', figure], publish):
        print(f'  {shlex.join(["python", *map(str, command)])}')


if __name__ == '__main__':
    main()
