"""Take the nRPN, and what only a training needs, out of a trained checkpoint.

    python tools/fold/strip.py work_dirs/mine/epoch_12.pth published/
    python tools/fold/strip.py work_dirs/mine/epoch_12.pth published/ --fold 0.5

The result is named after its hash, as MMDetection's published models are, and after its fold. A stock config (RPNHead
in the place of HardNegativeRPNHead) loads it with strict=True where mmdet_nrpn is not installed. The config that a
checkpoint carries as text is left out, for it names what is not there any more.

--fold A subtracts A times the nRPN from the RPN's classifier: its logit s becomes s - A * n. Larger A means fewer false
positives and, from some point on, less recall; tools/fold/sweep.py draws both.
"""

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdet_nrpn.utils import NRPN_PREFIX, is_of_nrpn, read_checkpoint, without_nrpn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from arguments import Parser, at_least, folder, told
from whole_files import WholeFileBackend

# MMDetection 2 calls the classes CLASSES
KEPT_META = ('epoch', 'iter', 'seed', 'time', 'mmengine_version', 'dataset_meta', 'CLASSES')


def strip(path: Path, fold: float = 0.0) -> dict:
    """A checkpoint's weights without those of an nRPN, and what tells where they come from.

    Args:
        path (Path): As MMEngine's runner saved it. It may hold several RPNs, such as a teacher's and a student's.
        fold (float): How much of the nRPN to subtract from the RPN's classifier: its weights ``w`` become
            ``w - fold * v``. Defaults to 0.

    Returns:
        dict: ``state_dict`` and ``meta``.

    Raises:
        ValueError: If there are no weights, or none of an nRPN among them, or none that can be folded.
    """
    checkpoint = read_checkpoint(path)
    state = checkpoint.get('state_dict') if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f"{path} has no 'state_dict'; give a checkpoint that a training saved")
    kept = without_nrpn(state)
    if len(kept) == len(state):
        raise ValueError(
            f"{path} has no weights called '…{NRPN_PREFIX}…'; it holds no nRPN, or none any more; tools/fold/fit.py "
            'fits one'
        )
    for rpn in {key.split(NRPN_PREFIX)[0] for key in state if is_of_nrpn(key)} if fold else ():
        nrpn = f'{rpn}{NRPN_PREFIX}'
        if f'{nrpn}nrpn_cls.weight' not in state:
            raise ValueError(
                f"{path}: '{nrpn}' is no NRPNHead: a PaperNRPNHead has a convolution or a target of its own and cannot "
                "be folded into the RPN's classifier; leave --fold out"
            )
        for part in ('weight', 'bias'):
            weight, subtracted = state[f'{rpn}rpn_cls.{part}'], state[f'{nrpn}nrpn_cls.{part}']
            kept[f'{rpn}rpn_cls.{part}'] = (weight.double() - fold * subtracted.double()).to(weight.dtype)
    return dict(state_dict=kept, meta=dict(kept_meta(checkpoint), fold=fold))


def kept_meta(checkpoint: dict) -> dict:
    """What tells where a checkpoint's weights come from, the classes among it, and not the config.

    NumPy's values become lists and numbers, so that everybody can read them with ``weights_only=True``.
    """
    meta = checkpoint.get('meta') or {}
    return {key: _plain(meta[key]) for key in KEPT_META if key in meta}


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def publish(checkpoint: dict, out_dir: Path, stem: str) -> Path:
    """Save under a name that tells the fold and ends in the first eight digits of the file's SHA-256."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    fold = f'-fold{checkpoint["meta"]["fold"]:g}' if checkpoint['meta']['fold'] else ''
    path = out_dir / f'{stem}{fold}-{hashlib.sha256(content.getbuffer()).hexdigest()[:8]}.pth'
    WholeFileBackend().put(content.getbuffer(), path)
    return path


def main() -> None:
    parser = Parser(__doc__, 'checkpoint')
    parser.add_argument('out_dir', type=folder)
    parser.add_argument('--fold', type=at_least(0, float), default=0.0, metavar='A', help='subtract A times the nRPN')
    args = parser.parse_args()
    with told():
        stripped = strip(args.checkpoint, args.fold)
    path = publish(stripped, args.out_dir, args.checkpoint.stem)
    before, after = (p.stat().st_size / 2**20 for p in (args.checkpoint, path))
    print(f'{path}: {after:.1f} MiB of {before:.1f}')


if __name__ == '__main__':
    main()
