import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmdet_nrpn import FROCMetric, ProposalMetric


def image(number):
    rng = np.random.default_rng(number)
    corner = rng.uniform(0, 100, (20, 2))
    boxes = torch.tensor(np.concatenate([corner, corner + rng.uniform(5, 60, (20, 2))], axis=1))
    labels = torch.tensor(rng.integers(0, 2, 20))
    objects = slice(0, 3 * (number % 3 > 0))  # every third image has none
    return dict(
        gt_instances=dict(bboxes=boxes[objects], labels=labels[objects]),
        pred_instances=dict(bboxes=boxes[2:] + 2, scores=torch.tensor(rng.random(18)), labels=labels[2:]),
    )


def evaluate(rank, world_size, kind, num, out):
    """As a test loop does: each process has every ``world_size``-th image, the last ones wrap around."""
    dist.init_process_group('gloo', init_method=f'file://{out}/store', rank=rank, world_size=world_size)
    metric = kind()
    for i in range(rank, -(-num // world_size) * world_size, world_size):
        metric.process(None, [image(i % num)])
    metrics = metric.evaluate(num)
    (out / f'{rank}.json').write_text(json.dumps(metrics))
    # the process ends here; torch 2.1's destroy_process_group was seen to wait for ever


@pytest.mark.slow
@pytest.mark.parametrize('kind', [ProposalMetric, FROCMetric])
def test_two_processes_measure_what_one_does(tmp_path, kind):
    num = 7  # uneven: one process sees an image twice
    mp.start_processes(evaluate, args=(2, kind, num, tmp_path), nprocs=2, start_method='fork')
    alone = kind()
    for i in range(num):
        alone.process(None, [image(i)])
    expected = alone.evaluate(num)
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == pytest.approx(expected, nan_ok=True)
