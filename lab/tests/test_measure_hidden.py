"""RPNs measured on classes that nobody labelled."""

import json
import runpy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

LABELLED, HIDDEN, NOWHERE = [0, 0, 20, 20], [50, 50, 90, 90], [0, 60, 20, 80]


@pytest.fixture
def values(repo, tmp_path):
    """What is measured of an image with an aeroplane, which is labelled, and a dog, which is not."""
    measure = runpy.run_path(str(repo / 'lab' / 'scripts' / 'measure_hidden.py'))
    meta = dict(img_id='1', img_path='1.jpg', ori_shape=(100, 100), img_shape=(100, 100), scale_factor=(1, 1))

    def of(proposals, hidden=HIDDEN):
        image = dict(meta=meta, gt=dict(bboxes=[LABELLED, hidden], labels=[0, 11]), ignored=dict(bboxes=[], labels=[]))
        (tmp_path / 'samples.json').write_text(json.dumps([image]))
        views = measure['Views'](tmp_path, ['aeroplane', 'bicycle'])
        metrics = views.metrics()
        bboxes = torch.tensor(proposals, dtype=torch.float32)
        proposals = InstanceData(bboxes=bboxes, scores=torch.arange(len(bboxes), 0, -1) / len(bboxes))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(bboxes=torch.tensor(image['gt']['bboxes'], dtype=torch.float32))
        views.process(metrics, sample, proposals)
        found = {name: metric.evaluate(1) for name, metric in metrics.items()}
        return {name: [found[name][f'proposal/{key}@10'] for key in ('AR', 'FP')] for name in found}

    return of


def test_hidden_objects_are_ignored_counted_or_looked_for(values):
    found = values([LABELLED, HIDDEN, NOWHERE, NOWHERE])
    assert found == dict(labelled=[1, 0.5], alone=[1, 0.75], hidden=[1, 0.5], unseen=[1, pytest.approx(2 / 3)])


def test_labelled_objects_take_places_of_hidden_ones_unless_they_are_left_out(values):
    found = values([LABELLED] * 10 + [HIDDEN])
    assert found == dict(labelled=[1, 0], alone=[1, 0], hidden=[0, 0], unseen=[1, 0])


def test_a_proposal_on_both_counts_for_the_object_that_it_fits_better(values):
    around = [0, 0, 20, 24]  # an IoU of 0.83 with the labelled object
    assert values([around] * 10, hidden=around)['unseen'] == [1, 0]
    assert values([LABELLED] * 10 + [around], hidden=around)['unseen'] == [1, 0]
