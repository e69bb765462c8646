"""Run by torchrun: hostile batches, other ones on each process, through DDP. Prints what tests look at, as JSON."""

import copy
import json
import sys

import hostile
import torch
import torch.distributed as dist
from torch import nn

import mmdet_nrpn  # noqa: F401 (registers)


class Loss(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, features, samples):
        losses = self.head.loss(features, samples)
        return sum(sum(value) for name, value in losses.items() if 'loss' in name)


def flat(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def train(model, seeds, lr=1e-2):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for seed in seeds:
        features, samples, _ = hostile.batch(seed)
        torch.manual_seed(seed)
        loss = model(features, samples)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item()


def train_all(steps):
    rank, differing, finite = dist.get_rank(), 0, True
    for variant in hostile.VARIANTS:
        if variant == 'inside':  # MMDetection refuses images smaller than their anchors
            continue
        model = Loss(hostile.build_head(variant))
        wrapped = nn.parallel.DistributedDataParallel(model, find_unused_parameters=False)
        # another batch on each process: one may have no object, or no false positive, where the other has
        for loss in train(wrapped, range(rank, 2 * steps, 2)):
            finite &= loss == loss
            weights = [torch.zeros_like(flat(model)) for _ in range(2)]
            dist.all_gather(weights, flat(model))
            differing += not torch.equal(*weights)

    # the same data on both is the training of one process
    alone = Loss(hostile.build_head('default'))
    together = copy.deepcopy(alone)
    losses = list(train(alone, range(steps)))
    wrapped = nn.parallel.DistributedDataParallel(together, find_unused_parameters=False)
    same = losses == list(train(wrapped, range(steps))) and torch.equal(flat(alone), flat(together))
    return dict(differing=differing, finite=bool(finite), same=same)


def main():
    dist.init_process_group('gloo')
    rank, result = dist.get_rank(), train_all(int(sys.argv[1]))
    # now that no DDP model is left: the last would wait, holding the GIL, for a thread of gloo's that wants it
    dist.destroy_process_group()
    if rank == 0:
        print(json.dumps(result))


if __name__ == '__main__':
    main()
