import json
import sys
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmdet.datasets import VOCDataset
from mmdet.registry import DATASETS, HOOKS, MODELS
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

META = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip')
SAMPLES = 'samples.json'


@torch.no_grad()
def store_features(model: nn.Module, dataset: Dataset, folder: Path, batch_size: int = 8) -> None:
    """Run a detector's backbone over a data set and keep what it gives, in half precision.

    Args:
        model (nn.Module): A detector; its ``data_preprocessor`` has to pad every image to one size.
        dataset (Dataset): MMDetection's, with a pipeline that packs objects.
        folder (Path): Where to write ``level0.npy``, …, each (num_images, C, H, W) float16, and ``samples.json``.
        batch_size (int): Images at once. Defaults to 8.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    levels: list = []
    samples: List[dict] = []
    loader = DataLoader(dataset, batch_size, num_workers=1, collate_fn=pseudo_collate)
    # in a log file, a line now and then
    for batch in tqdm(loader, str(folder), mininterval=0.1 if sys.stderr.isatty() else 10):
        data = model.data_preprocessor(batch)
        for i, level in enumerate(model.backbone(data['inputs'])):
            if len(levels) <= i:
                shape = (len(dataset), *level.shape[1:])
                levels.append(np.lib.format.open_memmap(folder / f'level{i}.npy', 'w+', np.float16, shape))
            levels[i][len(samples) : len(samples) + len(level)] = level.half().cpu().numpy()
        samples += [_as_json(sample) for sample in data['data_samples']]
    (folder / SAMPLES).write_text(json.dumps(samples))  # last: its presence says that all is there


def _as_json(sample: DetDataSample) -> dict:
    instances = dict(gt=sample.gt_instances, ignored=sample.ignored_instances)
    return dict(
        meta={key: sample.get(key) for key in META},
        **{name: dict(bboxes=i.bboxes.tolist(), labels=i.labels.tolist()) for name, i in instances.items()},
    )


def _instances(given: dict) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor(given['bboxes'], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(given['labels'], dtype=torch.long),
    )


@DATASETS.register_module()
class FeatureDataset(Dataset):
    """Images of VOC 2007 as the features that :func:`store_features` kept of them.

    Args:
        folders (list[str]): Folders that were written, such as one of the images and one of their mirror images.
        classes (list[str], optional): Those whose objects are kept. Defaults to all 20.
        ignore_others (bool): Keep objects of the other classes as ignored ones, of any class (-1). Defaults to False:
            they are background, as where nobody labelled them.
        filter_empty_gt (bool): Leave out images without such an object, as MMDetection does in a training. Defaults to
            False.

    Raises:
        FileNotFoundError: If a folder does not hold stored features, or they are not complete.
    """

    def __init__(
        self,
        folders: List[str],
        classes: Optional[Sequence[str]] = None,
        ignore_others: bool = False,
        filter_empty_gt: bool = False,
    ) -> None:
        of_voc = VOCDataset.METAINFO['classes']
        self.metainfo = dict(classes=tuple(classes or of_voc), dataset_type='VOC' if classes else 'VOC2007')
        # a label of the stored objects -> one among the classes
        self.labels = {of_voc.index(name): label for label, name in enumerate(self.metainfo['classes'])}
        self.items, self.samples = [], []
        for folder in map(Path, folders):
            if not (folder / SAMPLES).exists():
                raise FileNotFoundError(f'{folder} holds no stored features; see lab/pages/frozen_features.md')
            levels = [np.load(path, mmap_mode='r') for path in sorted(folder.glob('level*.npy'))]
            for i, sample in enumerate(json.loads((folder / SAMPLES).read_text())):
                others = [self._keep_classes(sample[kind]) for kind in ('gt', 'ignored')]
                if ignore_others:
                    sample['ignored']['bboxes'] += sum(others, [])
                    sample['ignored']['labels'] += [-1] * sum(map(len, others))
                if sample['gt']['labels'] or not filter_empty_gt:
                    self.items.append((levels, i))
                    self.samples.append(sample)

    def _keep_classes(self, instances: dict) -> list:
        """Leave objects of the classes in place, and give the boxes of the others."""
        found = list(zip(instances['bboxes'], instances['labels']))
        kept = [(bbox, self.labels[label]) for bbox, label in found if label in self.labels]
        instances.update(bboxes=[bbox for bbox, _ in kept], labels=[label for _, label in kept])
        return [bbox for bbox, label in found if label not in self.labels]

    def __len__(self) -> int:
        return len(self.items)

    def get_data_info(self, idx: int) -> dict:
        """Names and annotations of an image, which this package's metrics take ground truth from."""
        stored = self.samples[idx]
        instances = [
            dict(bbox=bbox, bbox_label=label, ignore_flag=int(kind == 'ignored'))
            for kind in ('gt', 'ignored')
            for bbox, label in zip(stored[kind]['bboxes'], stored[kind]['labels'])
        ]
        return dict(img_id=stored['meta']['img_id'], img_path=stored['meta']['img_path'], instances=instances)

    def __getitem__(self, idx: int) -> dict:
        levels, i = self.items[idx]
        stored = self.samples[idx]
        sample = DetDataSample(metainfo={k: tuple(v) if isinstance(v, list) else v for k, v in stored['meta'].items()})
        sample.gt_instances, sample.ignored_instances = _instances(stored['gt']), _instances(stored['ignored'])
        return dict(inputs=[torch.from_numpy(np.array(level[i])) for level in levels], data_samples=sample)


@MODELS.register_module()
class StoredBackbone(BaseModule):
    """Stands in the backbone's place and hands on stored features, a batch of each level, in float32."""

    def forward(self, inputs: List[List[Tensor]]) -> Tuple[Tensor, ...]:
        return tuple(torch.stack(level).float() for level in inputs)


@HOOKS.register_module()
class FlushDenormals(Hook):
    """Lets the processor take the smallest numbers for 0: stored features are full of them, and they are slow.

    It holds for the whole process, so it is set where a training or a test starts, not where a model is built.
    """

    def before_run(self, runner: object) -> None:
        torch.set_flush_denormal(True)
