"""Keep the features of a config's frozen backbone, for RPNs that train on them in a minute.

    python lab/scripts/store_features.py configs/nrpn/rpn_efficientnet-lite0_fpn_320px_voc07.py data/lab

Writes OUT/train, OUT/train-flipped and OUT/val in half precision, 0.3 MB per image with EfficientNet-Lite0. What is
there already is not made again; what was made of other images or with another backbone is refused.
"""

import argparse
import sys
from pathlib import Path

from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmdet_nrpn  # noqa: F401 (registers)

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tools')]
from arguments import existing_file  # noqa: E402

from lab.features import SAMPLES, store_features  # noqa: E402


def with_flip(pipeline: list, prob: float) -> list:
    """The pipeline with every random flip made certain, or left out."""
    return [dict(step, prob=prob) if step['type'] == 'RandomFlip' else step for step in pipeline]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=existing_file)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    if args.out.exists() and not args.out.is_dir():
        parser.error(f'{args.out} is a file; name a folder')
    cfg = Config.fromfile(args.config)
    cfg.model.data_preprocessor.pad_size_divisor = max(cfg.train_pipeline[2].scale)
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    model.init_weights()
    train, val = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    parts = {
        'train': dict(train, pipeline=with_flip(train.pipeline, 0.0)),
        'train-flipped': dict(train, pipeline=with_flip(train.pipeline, 1.0)),
        'val': val,
    }
    network = dict(backbone=cfg.model.backbone, data_preprocessor=cfg.model.data_preprocessor)
    for name, dataset in parts.items():
        source = Config(dict(network, dataset=dataset)).pretty_text
        stored_of = args.out / name / 'source.py'
        if not (args.out / name / SAMPLES).exists():
            store_features(model, DATASETS.build(dataset), args.out / name)
            stored_of.write_text(source)
        elif not stored_of.exists() or stored_of.read_text() != source:
            parser.error(f'{args.out / name} holds features of something else, see {stored_of}; name another folder')
    print(f'Features: {args.out}/{", ".join(parts)}')


if __name__ == '__main__':
    main()
