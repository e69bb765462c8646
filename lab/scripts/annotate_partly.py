"""Take objects of the training images out of the annotations of make_shapes.py's data set.

    python lab/scripts/annotate_partly.py data/shapes data/partly --keep 0.67

The images stay the same, and validation images keep all objects.
"""

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
from arguments import Parser


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument('whole', type=Path, help='the data set')
    parser.add_argument('out_dir', type=Path, help='folder to make')
    parser.add_argument('--keep', type=float, default=0.67, help='share of the training objects that stays')
    parser.add_argument('--seed', type=int, default=0, help='of which ones')
    args = parser.parse_args()
    shutil.copytree(args.whole, args.out_dir)
    for name in (args.whole / 'ImageSets' / 'Main' / 'train.txt').read_text().split():
        file = args.out_dir / 'Annotations' / f'{name}.xml'
        tree = ElementTree.parse(file)
        objects = tree.findall('object')
        is_kept = np.random.default_rng([args.seed, int(name), 1]).random(len(objects)) < args.keep
        for item, stays in zip(objects, is_kept):
            if not stays:
                tree.getroot().remove(item)
        tree.write(file)


if __name__ == '__main__':
    main()
