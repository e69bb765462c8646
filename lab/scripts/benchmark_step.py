"""Time training steps and predictions of configs side by side, and tell what nRPN's parts cost.

    python lab/scripts/benchmark_step.py                                # three RPNs with a ResNet-50 and FPN
    python lab/scripts/benchmark_step.py STOCK.py OURS.py BASELINE.py --size 320 320 --batch 4

Every round times one step of each config in turn, on the same synthetic images, so a busy machine slows all of them;
ratios are to the first config, round by round: median (lowest to highest). Weights are as at the start of a training,
in predictions those of the first config, where they fit.
"""

import argparse
import contextlib
import json
import logging
import statistics
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tools')]
from arguments import at_least, existing_file  # noqa: E402

from lab.scripts.timed_model import TimedModel  # noqa: E402

DEFAULT = [
    ROOT / 'configs' / 'nrpn' / f'{row}_r50-caffe_fpn_1x_voc07.py'
    for row in ('rpn-focal', 'nrpn-focal', 'paper-nrpn-overlap')
]


def spread(values: list) -> str:
    return f'{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', type=existing_file, nargs='*', default=DEFAULT, help='the first is the baseline')
    parser.add_argument(
        '--size', type=at_least(1), nargs=2, default=(600, 1000), help='height, width (default: 600 1000)'
    )
    parser.add_argument('--batch', type=at_least(1), default=2, help='default: %(default)s')
    parser.add_argument('--rounds', type=at_least(1), default=10, help='after one to warm up (default: %(default)s)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='default: %(default)s')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument('--out', type=Path, help='JSON file for every single time')
    args = parser.parse_args()
    if args.amp and args.device == 'cpu':
        parser.error("--amp is MMEngine's AmpOptimWrapper, which trains on a GPU alone")
    if len({config.stem for config in args.configs}) < len(args.configs):
        parser.error('two configs have the same file name; give them different ones')
    if args.out and (args.out.is_dir() or not args.out.absolute().parent.is_dir()):
        parser.error(f'--out {args.out} is a folder or in none; name a file to write')
    logging.disable(logging.INFO)  # every initialised layer
    try:
        measured = compare(args)
    except ValueError as error:
        sys.exit(str(error))
    if args.out:
        args.out.write_text(json.dumps(measured, indent=1))
        print(f'Every time: {args.out}')


def time_rounds(models: list, kind: str, rounds: int, times: dict) -> None:
    for number in range(rounds + 1):
        for model in models:
            seconds = getattr(model, kind)()
            if number:  # the first is to warm up
                times[model.name][kind].append(seconds)
        print(f'{kind}: round {number} of {rounds}', flush=True)


def compare(args: argparse.Namespace) -> dict:
    models = [TimedModel(config, args.size, args.batch, args.device, args.amp) for config in args.configs]
    times = {model.name: dict(predict=[], step=[]) for model in models}
    with contextlib.ExitStack() as stack:
        # what there is to do in NMS hangs on the weights
        equal = [stack.enter_context(model.weights_of(models[0])) for model in models]
        outputs = [model.outputs() for model in models]
        time_rounds(models, 'predict', args.rounds, times)
    time_rounds(models, 'step', args.rounds, times)
    height, width = args.size
    print(f'\n{args.device}, {torch.get_num_threads()} threads, {args.batch} images of {height}x{width}')
    base = times[models[0].name]
    for model, output, has_weights in zip(models, outputs, equal):
        mine = times[model.name]
        parts, mine['peak_mib'] = model.parts(), model.peak_memory()
        mine['profiled_parts'] = dict(parts)
        print(f'\n{model.name}')
        for kind in ('step', 'predict'):
            ratios = [a / b for a, b in zip(mine[kind], base[kind])]
            print(f'  {kind:8} {spread(mine[kind])} s, ratio {spread(ratios)}')
        print(f'  memory   {mine["peak_mib"]:.0f} MiB, ratio {mine["peak_mib"] / base["peak_mib"]:.3f}')
        if has_weights:
            same = all(torch.equal(a, b) for a, b in zip(output, outputs[0]))
            print(f'  with equal weights, predicts {"the same bit for bit as" if same else "OTHERWISE than"} the first')
        else:
            print('  has other weights than the first: predictions are not compared')
        whole = parts.pop('the step')
        for name, seconds in parts.items():
            print(f'    {name:15} {1000 * seconds:8.1f} ms, {seconds / whole:6.1%} of the profiled step')
    return times


if __name__ == '__main__':
    main()
