"""Fit an nRPN to a trained RPN, to fold it into the RPN's classifier (not in the paper).

    python tools/fold/fit.py CONFIG CHECKPOINT --out work_dirs/fit/fitted.pth

For any detector with an RPN of its own, such as a Faster R-CNN that was trained without this package. Only the nRPN
learns, a 1x1 convolution; the detector's own weights stay as they are. Of a teacher's or a tracker's checkpoint the
detector inside is taken, with the config of that detector. Then tools/fold/sweep.py measures factors to fold it by, and
tools/fold/strip.py --fold writes a checkpoint for the stock config. Both commands are printed at the end.
"""

import copy
import functools
import shlex
import sys
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
from mmdet_nrpn.utils import NRPN_PREFIX, load_weights, rpn_of, without_nrpn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from arguments import Parser, at_least, new_file, told
from detectors import build_detector, imports_with_package, read_config, require_detector, tell_step
from fold.strip import kept_meta
from whole_files import written_beside

# AdamW's step in a weight, times the channels: so the step in a logit does not grow with them.
STEP = 0.64


def with_nrpn(cfg: Config) -> Config:
    """A copy of a detector's config, with an ``NRPNHead`` beside its RPN.

    Raises:
        ValueError: If the RPN is of a class of its own, or there is none, or nothing to train or to measure with.
    """
    require_detector(cfg)
    for key in ('model.rpn_head', 'model.train_cfg.rpn', 'train_dataloader', 'val_dataloader'):
        if not functools.reduce(lambda part, name: (part or {}).get(name), key.split('.'), cfg):
            raise ValueError(f'{key} is not there; give the config of the training of a detector with an RPN')
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    head = cfg.model.rpn_head
    head_class = MODELS.get(head.type) if isinstance(head.type, str) else head.type
    if head_class not in (RPNHead, HardNegativeRPNHead):
        raise ValueError(
            f'model.rpn_head.type={head.type!r} must be RPNHead or HardNegativeRPNHead to be given an nRPN'
        )
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

    Raises:
        ValueError: If the checkpoint does not fit, the detector has no RPN of its own, or there are no images.
    """
    set_random_seed(0)
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


def main() -> None:
    parser = Parser(__doc__, 'config', 'checkpoint')
    parser.add_argument('--out', type=new_file('.pth'), required=True, help='checkpoint to write, and a config beside')
    parser.add_argument('--iters', type=at_least(1), default=200, help='batches to learn from')
    args = parser.parse_args()
    out_config, figure = args.out.with_suffix('.py'), args.out.with_name(f'{args.out.stem}_fold.png')
    for path in (args.out, out_config):
        if path.exists():
            parser.error(f'--out {args.out}: {path} is there already; name another file')
    with told():
        cfg = with_nrpn(read_config(args.config))
        fitted = fit(cfg, args.checkpoint, args.iters)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(args.out) as weights, written_beside(out_config) as config:
        torch.save(fitted, weights)
        Path(config).write_text(cfg.pretty_text, encoding='utf-8')
    print(f'The fitted checkpoint: {args.out}; its config: {out_config}. Choose a factor, and publish with it:')
    sweep = ['tools/fold/sweep.py', out_config, args.out, '--folds', 0, 0.1, 0.2, 0.3, 0.5]
    publish = ['tools/fold/strip.py', args.out, args.out.parent / 'published', '--fold', 0.2]
    for command in ([*sweep, '--out', figure], publish):
        print(f'  {shlex.join(["python", *map(str, command)])}')


if __name__ == '__main__':
    main()
