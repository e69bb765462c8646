"""Compare two commits' training steps: losses, gradients, chosen anchors and proposals on hostile batches.

    git worktree add --detach ../old COMMIT
    python lab/scripts/compare_heads.py ../old . --steps 40

Each commit's package runs in a process of its own, on the batches of tests/helpers/hostile.py. Where the two draw
random numbers in another order, both are given the same draw: which of the pool's negatives are taken, and which of the
others.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch

HELPERS = Path(__file__).resolve().parents[2] / 'tests' / 'helpers'


def draw_alike() -> None:
    """Let the sampler draw from a generator of its own, whatever its implementation is."""
    from mmdet.models.task_modules.samplers import RandomSampler

    from mmdet_nrpn.models.task_modules.samplers import nrpn_sampler

    def choose(gallery, num):
        order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(len(gallery)))
        return gallery[order[:num]]

    def sample_hard(self, hardness, num):
        hardness = hardness.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        pool = hardness.argsort(descending=True, stable=True)[: num * self.pool_factor]
        return choose(pool[hardness[pool] > -torch.inf], num)

    RandomSampler.random_choice = lambda self, gallery, num: choose(gallery, num)
    nrpn_sampler.sample_from = lambda mask, num: choose(mask.nonzero().squeeze(1), num)
    nrpn_sampler.NRPNSampler.sample_hard = sample_hard


def run(path: Path, steps: int) -> None:
    """Train on each variant's batches and save what came out."""
    sys.path.insert(0, str(HELPERS))
    import hostile
    from mmdet.utils import register_all_modules

    import mmdet_nrpn

    register_all_modules()
    warnings.simplefilter('ignore')
    draw_alike()
    results = {}
    for variant in hostile.VARIANTS:
        head = hostile.build_head(variant)
        optimizer = torch.optim.SGD(head.parameters(), lr=1e-3)
        for seed in range(steps):
            features, samples, _ = hostile.batch(seed)
            torch.manual_seed(seed)
            try:
                losses, proposals = head.loss_and_predict(features, samples, proposal_cfg=head.test_cfg)
            except ValueError as error:
                results[variant, seed] = dict(error=type(error).__name__)
                continue
            except IndexError:  # MMDetection's own, in predicting from a level with one anchor
                torch.manual_seed(seed)
                losses, proposals = head.loss(features, samples), []
            optimizer.zero_grad(set_to_none=True)
            sum(sum(value) for name, value in losses.items() if 'loss' in name).backward()
            chosen = [
                {key: getattr(image, key, None) for key in ('pos_inds', 'neg_inds', 'hard_anchors', 'random_anchors')}
                for image in head.sampling_results
            ]
            results[variant, seed] = dict(
                losses={key: torch.stack(list(value)) if isinstance(value, (list, tuple)) else value
                        for key, value in losses.items()},
                gradients={key: parameter.grad.clone() for key, parameter in head.named_parameters()},
                chosen=chosen,
                proposals=[dict(bboxes=image.bboxes, scores=image.scores) for image in proposals],
            )  # fmt: skip
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
    torch.save(results, path)
    print(f'{Path(mmdet_nrpn.__file__).parent}: {len(results)} steps')


def flat(value, name=''):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f'{name}.{key}')
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from flat(item, f'{name}.{number}')
    else:
        yield name, value


def compare(old: dict, new: dict) -> None:
    assert old.keys() == new.keys()
    num_bit_equal, num_values, largest = 0, 0, 0.0
    for step in old:
        before, after = (dict(flat(results[step])) for results in (old, new))
        assert before.keys() == after.keys(), (step, before.keys() ^ after.keys())
        for name, value in before.items():
            num_values += 1
            if not isinstance(value, torch.Tensor):
                assert value == after[name], (step, name)
                num_bit_equal += 1
                continue
            assert value.shape == after[name].shape, (step, name)
            equal = torch.equal(value, after[name])
            num_bit_equal += equal
            if not equal:
                assert value.is_floating_point(), (step, name)
                difference = (value.double() - after[name].double()).norm() / value.double().norm()
                largest = max(largest, difference.item())
    print(f'{len(old)} steps, {num_values} values: {num_bit_equal} bit-equal; largest difference {largest:.0e}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkouts', nargs='*', type=Path, help='two folders that hold the package')
    parser.add_argument('--steps', type=int, default=40, help='of each variant (default: %(default)s)')
    parser.add_argument('--save', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.save:
        run(args.save, args.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for number, checkout in enumerate(args.checkouts):
            path = Path(folder) / f'{number}.pth'
            command = [sys.executable, __file__, '--save', path, '--steps', str(args.steps)]
            subprocess.run(command, check=True, env={**os.environ, 'PYTHONPATH': str(checkout.resolve())})
            results.append(torch.load(path, weights_only=False))
        compare(*results)


if __name__ == '__main__':
    main()
