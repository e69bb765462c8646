"""Count the ignored regions of data/partly that lie on objects which are not annotated there.

    python lab/scripts/regions_on_objects.py data/partly data/shapes

The second is tools/dataset_converters/make_shapes.py's, the first what annotate_partly.py made of it. Its regions.json
has the regions.
"""

import argparse
import json
from pathlib import Path

import torch
from mmdet.registry import DATASETS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import register_all_modules
from mmengine.config import Config

DATA = Path(__file__).resolve().parents[2] / 'configs' / 'nrpn' / '_base_' / 'datasets' / 'shapes.py'


def objects_of(root: Path) -> dict:
    """Boxes (x1, y1, x2, y2) by image."""
    cfg = Config.fromfile(DATA).train_dataloader.dataset
    dataset = DATASETS.build(dict(cfg, data_root=str(root)))
    infos = map(dataset.get_data_info, range(len(dataset)))
    return {info['img_id']: [instance['bbox'] for instance in info['instances']] for info in infos}


def count(partly: Path, whole: Path) -> dict:
    content = json.loads((partly / 'regions.json').read_text())
    names = {image['id']: Path(image['file_name']).stem for image in content['images']}
    annotated, numbers = objects_of(partly), dict(regions=0, on_objects=0, missing=0, found=0)
    for name, objects in objects_of(whole).items():
        missing = torch.tensor([box for box in objects if box not in annotated[name]]).float().reshape(-1, 4)
        regions = [a['bbox'] for a in content['annotations'] if 'score' in a and names[a['image_id']] == name]
        regions = torch.tensor(regions).float().reshape(-1, 4)
        regions[:, 2:] += regions[:, :2]
        is_same = bbox_overlaps(regions, missing) >= 0.5
        numbers['regions'] += len(regions)
        numbers['missing'] += len(missing)
        numbers['on_objects'] += int(is_same.any(1).sum())
        numbers['found'] += int(is_same.any(0).sum())
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('partly', type=Path)
    parser.add_argument('whole', type=Path)
    args = parser.parse_args()
    register_all_modules()
    numbers = count(args.partly, args.whole)
    print('{on_objects} of {regions} regions lie on an object; {found} of {missing} missing ones'.format(**numbers))


if __name__ == '__main__':
    main()
