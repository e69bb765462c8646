"""Take the nRPN, and what only a training needs, out of a trained checkpoint.

    python tools/model_converters/strip_nrpn.py work_dirs/mine/epoch_12.pth published/
    python tools/model_converters/strip_nrpn.py work_dirs/mine/epoch_12.pth published/ --fold 0.5

The result is named after its hash, as MMDetection's published models are, and a stock config (RPNHead in place of
HardNegativeRPNHead) loads it with strict=True where mmdet_nrpn is not installed. The config that a checkpoint carries
as text is left out, for it names what is not there any more.

--fold A subtracts A times the nRPN from the RPN's classifier: its logit s becomes s - A * n. Larger A means fewer false
positives and, from some point on, less recall; tools/analysis_tools/sweep_fold.py draws both.
"""

import argparse
import hashlib
import math
import sys
from pathlib import Path

import torch

from mmdet_nrpn.utils import NRPN_PREFIX, is_of_nrpn, read_checkpoint, without_nrpn

sys.path.append(str(Path(__file__).resolve().parents[1]))
from arguments import existing_file

# MMDetection 2 calls the classes CLASSES
KEPT_META = ('epoch', 'iter', 'seed', 'time', 'mmengine_version', 'dataset_meta', 'CLASSES')


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
            f"{name} has no weights called '…{NRPN_PREFIX}…'; it holds no nRPN, or none any more; tools/fit_nrpn.py "
            'fits one'
        )
    if fold:
        kept.update(folded(state, name, fold))
    return dict(state_dict=kept, meta=kept_meta(checkpoint))


def kept_meta(checkpoint: dict) -> dict:
    """What tells where a checkpoint's weights come from, the classes among it, and not the config.

    Args:
        checkpoint (dict): As MMEngine's runner saves it.

    Returns:
        dict: Of plain values: what is not plain was read as a stand-in, which nobody else could read again.
    """
    meta = checkpoint.get('meta', {})
    return {key: meta[key] for key in KEPT_META if key in meta and _is_plain(meta[key])}


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


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bool))


def publish(checkpoint: dict, folder: Path, stem: str) -> Path:
    """Save under a name that ends in the first eight digits of the file's SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f'{stem}.part'
    torch.save(checkpoint, part)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    return part.replace(folder / f'{stem}-{digest[:8]}.pth')


def fold_factor(text: str) -> float:
    """A finite number, 0 or more."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'must be a finite number >= 0, got {text}')
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=existing_file)
    parser.add_argument('out_dir', type=Path)
    parser.add_argument(
        '--fold', type=fold_factor, default=0.0, metavar='A', help='subtract A times the nRPN (default: 0, off)'
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
