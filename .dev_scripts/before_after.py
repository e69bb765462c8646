"""Draw README's picture from a page that browse_hard_negatives.py wrote of two RPNs: what each gets wrong in its top 10

    python .dev_scripts/before_after.py work_dirs/demo/hard_negatives.html docs/images/before_after.jpg

Shown are the images with the largest gain: false positives that are gone, and objects that are found.
"""

import base64
import io
import json
import re
import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

TOP, NUM = 10, 4
FALSE, MISSED, FOUND = '#e02020', '#ff30ff', '#109030'


def num_wrong(rpn: dict) -> int:
    return sum(box[5] <= TOP for box in rpn['false']) + sum(rank > TOP for rank in rpn['ranks'])


def draw(page: Path, out: Path) -> None:
    data = json.loads(re.search(r'<script[^>]*json[^>]*>(.*?)</script>', page.read_text(), re.S)[1])
    gain = {image['name']: num_wrong(image['rpns'][0]) - num_wrong(image['rpns'][1]) for image in data['images']}
    images = sorted(data['images'], key=lambda image: (-gain[image['name']], image['name']))[:NUM]
    figure = Figure(figsize=(2.6 * NUM, 5.5), dpi=92, layout='constrained')
    axes = figure.subplots(2, NUM)
    for column, image in zip(axes.T, images):
        pixels = Image.open(io.BytesIO(base64.b64decode(image['jpeg'].split(',')[1])))
        for axis, rpn in zip(column, image['rpns']):
            axis.imshow(pixels, extent=(0, image['width'], image['height'], 0))
            axis.set(xticks=[], yticks=[])
            objects = [(box, FOUND if rank <= TOP else MISSED) for box, rank in zip(image['objects'], rpn['ranks'])]
            for (x1, y1, x2, y2), color in [(box[:4], FALSE) for box in rpn['false'] if box[5] <= TOP] + objects:
                axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=2))
    for axis, name in zip(axes[:, 0], ('stock RPN', 'with an nRPN')):
        axis.set_ylabel(name, fontsize=13)
    figure.savefig(out, pil_kwargs=dict(quality=74))


if __name__ == '__main__':
    draw(*map(Path, sys.argv[1:]))
