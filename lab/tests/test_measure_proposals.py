"""Proposals from files are measured as an RPN's, and the figure is drawn from what was measured."""

import runpy
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

CONFIG = 'configs/nrpn/rpn_r18-w16_fpn_demo_shapes.py'
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


@pytest.fixture
def proposals(shapes, tmp_path):
    """Every object that counts, as the XML has it, then the whole image 20 times; and how many objects there are."""
    folder, counts = tmp_path / 'proposals', []
    folder.mkdir()
    for name in (shapes / 'ImageSets' / 'Main' / 'val.txt').read_text().split():
        tree = ElementTree.parse(shapes / 'Annotations' / f'{name}.xml')
        objects = [item.find('bndbox') for item in tree.findall('object') if item.findtext('difficult') != '1']
        boxes = [[int(box.findtext(corner)) - 1 for corner in CORNERS] for box in objects]
        whole = [0, 0, *(int(tree.findtext(f'size/{side}')) for side in ('width', 'height'))]
        np.save(folder / f'{name}.npy', np.array([*boxes, *[whole] * 20], np.int16))
        counts.append(len(boxes))
    return folder, counts


def test_what_is_found_depends_on_which_end_is_best(run_tool, shapes, proposals, results, tmp_path):
    folder, counts = proposals
    assert 0 < max(counts) <= 10
    rows = ['--best-first', 'first', folder, '--best-last', 'last', folder]
    done = run_tool('lab/scripts/measure_proposals.py', CONFIG, tmp_path / 'out', *rows, SHAPES_ROOT=f'{shapes}/')
    assert done.returncode == 0, done.stderr[-3000:]
    runs = pd.read_csv(tmp_path / 'out' / 'runs.csv', comment='#', index_col='name')
    assert runs['AR@10'].to_dict() == dict(first=1, last=0) and runs['AR@50'].to_dict() == dict(first=1, last=1)
    false = np.mean([(10 - count) / 10 for count in counts])
    assert runs['FP@10'].to_dict() == pytest.approx(dict(first=false, last=1))
    assert [*runs] == [*pd.read_csv(results('whole/runs.csv'), comment='#', index_col='name')]


def test_the_figure_is_drawn_from_the_results(repo, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['draw_recall_curves.py', str(tmp_path / 'drawn.png')])
    runpy.run_path(str(repo / 'lab' / 'scripts' / 'draw_recall_curves.py'), run_name='__main__')
    shipped = repo / 'docs' / 'images' / 'recall_curves.png'
    drawn, shipped = (np.asarray(Image.open(path).convert('RGB'), float) for path in (tmp_path / 'drawn.png', shipped))
    assert drawn.shape == shipped.shape and abs(drawn - shipped).mean() < 2.5
