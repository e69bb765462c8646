import math
import runpy

import pytest
import torch


def logit(p):
    return math.log(p / (1 - p))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_logits(p, background, objectness, weight):
    """The softmax, after so much was added to the classes' logits."""
    e = [math.exp(math.log(value) + weight * logit(objectness)) for value in p]
    return [value / (sum(e) + background) for value in e]


FORMULAS = dict(
    product=lambda p, _, o, w: [value * o**w for value in p],
    mean=lambda p, _, o, w: [value ** (1 - w) * o**w for value in p],
    logits=by_logits,
    odds=lambda p, _, o, w: [sigmoid(logit(value) + w * logit(o)) for value in p],
)


@pytest.mark.parametrize('weight', [0, 0.25, 1])
@pytest.mark.parametrize('name', FORMULAS)
def test_scores_are_joined_as_the_page_says(repo, name, weight):
    joinings = runpy.run_path(str(repo / 'lab' / 'scripts' / 'measure_detections.py'))['JOININGS']
    assert joinings.keys() == FORMULAS.keys()
    scores, objectness = torch.tensor([[0.2, 0.7, 0.1], [0.01, 0.04, 0.95]]).double(), torch.tensor([0.9, 0.3]).double()
    joined = joinings[name](scores, objectness, weight)[:, :-1].tolist()
    expected = [FORMULAS[name](p[:-1], p[-1], o, weight) for p, o in zip(scores.tolist(), objectness.tolist())]
    assert joined == [pytest.approx(values) for values in expected]
    if weight == 0:
        assert joined == [pytest.approx(p) for p in scores[:, :-1].tolist()]
