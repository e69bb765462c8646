"""Take the nRPN, and what only a training needs, out of a trained checkpoint.

    python tools/fold/strip.py work_dirs/mine/epoch_12.pth published/
    python tools/fold/strip.py work_dirs/mine/epoch_12.pth published/ --fold 0.5

The result is named after its hash, as MMDetection's published models are, and after its fold. A stock config (RPNHead
in the place of HardNegativeRPNHead) loads it with strict=True where mmdet_nrpn is not installed. The config that a
checkpoint carries as text is left out, for it names what is not there any more.

--fold A subtracts A times the nRPN from the RPN's classifier: its logit s becomes s - A * n. Larger A means fewer false
positives and, from some point on, less recall; tools/fold/sweep.py draws both.
"""

import argparse
import hashlib
import io
import sys
from pathlib import Path
from typing import Any, List

import numpy as np
import torch

from mmdet_nrpn.utils import NRPN_PREFIX, is_of_nrpn, read_checkpoint, without_nrpn

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import existing_file, non_negative
from whole_files import written_beside

# MMDetection 2 calls the classes CLASSES
KEPT_META = ('epoch', 'iter', 'seed', 'time', 'mmengine_version', 'dataset_meta', 'CLASSES')

LEFT_OUT = object()


def strip(checkpoint: dict, name: str, fold: float = 0.0) -> dict:
    """Weights without those of an nRPN, and what tells where they come from.

    Args:
        checkpoint (dict): As MMEngine's runner saves it.
        name (str): For the messages.
        fold (float): How much of the nRPN to subtract from the RPN's classifier. Defaults to 0.

    Returns:
        dict: ``state_dict`` and ``meta``.

    Raises:
        ValueError: If there are no weights, or none of an nRPN among them, or none that can be folded.
    """
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get('state_dict'), dict):
        raise ValueError(f"{name} has no 'state_dict'; give a checkpoint that a training saved")
    state = checkpoint['state_dict']
    kept = without_nrpn(state)
    if len(kept) == len(state):
        raise ValueError(
            f"{name} has no weights called '…{NRPN_PREFIX}…'; it holds no nRPN, or none any more; tools/fold/fit.py "
            'fits one'
        )
    if fold:
        kept.update(folded(state, name, fold))
    return dict(state_dict=kept, meta=dict(kept_meta(checkpoint), fold=fold))


def kept_meta(checkpoint: dict) -> dict:
    """What tells where a checkpoint's weights come from, the classes among it, and not the config.

    Args:
        checkpoint (dict): As MMEngine's runner saves it.

    Returns:
        dict: Of plain values, which everybody can read with ``weights_only=True``; NumPy's become lists and numbers.
        What else there is is left out, and a line on stderr names it.
    """
    meta, dropped = checkpoint.get('meta') or {}, []
    kept = {key: _plain(meta[key], f'meta.{key}', dropped) for key in KEPT_META if key in meta}
    if dropped:
        print(f'left out, for they are no plain values: {", ".join(dropped)}', file=sys.stderr)
    return {key: value for key, value in kept.items() if value is not LEFT_OUT}


def folded(state: dict, name: str, fold: float) -> dict:
    """The RPN's classifiers with their nRPN subtracted, ``w - fold * v`` and ``b - fold * c``.

    Args:
        state (dict): Weights of a detector, which may hold several RPNs, such as a teacher's and a student's.
        name (str): For the messages.
        fold (float): The factor.

    Returns:
        dict: The new weights of every ``rpn_cls`` beside an ``NRPNHead``.

    Raises:
        ValueError: If an nRPN is no ``NRPNHead``.
    """
    result = {}
    for rpn in sorted({key.split(NRPN_PREFIX)[0] for key in state if is_of_nrpn(key)}):
        nrpn = f'{rpn}{NRPN_PREFIX}'
        if f'{nrpn}nrpn_cls.weight' not in state:
            raise ValueError(
                f"{name}: '{nrpn}' is no NRPNHead: a PaperNRPNHead has a convolution or a target of its own and cannot "
                "be folded into the RPN's classifier; leave --fold out"
            )
        for part in ('weight', 'bias'):
            weight, subtracted = state[f'{rpn}rpn_cls.{part}'], state[f'{nrpn}nrpn_cls.{part}']
            result[f'{rpn}rpn_cls.{part}'] = (weight.double() - fold * subtracted.double()).to(weight.dtype)
    return result


def _plain(value: Any, name: str, dropped: List[str]) -> Any:
    """The value in Python's own types; ``LEFT_OUT`` and a name in ``dropped`` for what has no such form."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        items = {_plain(key, name, []): _plain(item, f'{name}.{key}', dropped) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not LEFT_OUT}
    if isinstance(value, (list, tuple)):
        items = [_plain(item, name, dropped) for item in value]
        return LEFT_OUT if LEFT_OUT in items else tuple(items) if isinstance(value, tuple) else items
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    dropped.append(name)
    return LEFT_OUT


def publish(checkpoint: dict, folder: Path, stem: str) -> Path:
    """Save under a name that tells the fold and ends in the first eight digits of the file's SHA-256."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    fold = f'-fold{checkpoint["meta"]["fold"]:g}' if checkpoint['meta']['fold'] else ''
    path = folder / f'{stem}{fold}-{hashlib.sha256(content.getbuffer()).hexdigest()[:8]}.pth'
    folder.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as part:
        Path(part).write_bytes(content.getbuffer())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=existing_file)
    parser.add_argument('out_dir', type=Path)
    parser.add_argument(
        '--fold', type=non_negative, default=0.0, metavar='A', help='subtract A times the nRPN (default: 0, off)'
    )
    args = parser.parse_args()
    if args.out_dir.exists() and not args.out_dir.is_dir():
        parser.error(f'{args.out_dir} is a file; name a folder')
    try:
        stripped = strip(read_checkpoint(args.checkpoint), str(args.checkpoint), args.fold)
    except ValueError as error:
        sys.exit(str(error))
    path = publish(stripped, args.out_dir, args.checkpoint.stem)
    before, after = (p.stat().st_size / 2**20 for p in (args.checkpoint, path))
    print(f'{path}: {after:.1f} MiB of {before:.1f}')


if __name__ == '__main__':
    main()
