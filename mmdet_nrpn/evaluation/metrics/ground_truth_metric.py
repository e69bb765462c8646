from logging import Logger
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from ...utils import can_become_file, running_loop
from ..ground_truth import GroundTruth, Objects


class GroundTruthMetric(BaseMetric):
    """A metric that takes objects from the data set that is evaluated, in pixels of the original image.

    Arguments are those of the metrics that derive from it, which say what they write to ``out_file``.
    """

    def __init__(self, out_file: Union[str, Path, None], collect_device: str, prefix: Optional[str]) -> None:
        self._require(collect_device in ('cpu', 'gpu'), "collect_device must be 'cpu' or 'gpu'", collect_device)
        self._require(prefix is None or isinstance(prefix, str), 'prefix must be a string', prefix)
        is_file = out_file is None or (isinstance(out_file, (str, Path)) and can_become_file(Path(out_file)))
        self._require(is_file, 'out_file must name a file, no folder, in a folder', out_file)
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out_file = out_file
        self.ground_truth = GroundTruth()

    def _with_objects(
        self, data_batch: Optional[dict], data_samples: Sequence[dict]
    ) -> Iterator[Tuple[dict, Objects, Objects]]:
        """Each sample with its objects and its ignored ones. Several views of an image have merged predictions."""
        loop = running_loop('evaluator')
        if loop is not None and loop.dataloader.dataset is not self.ground_truth.dataset:
            self.ground_truth = GroundTruth(loop.dataloader.dataset)
        views = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        merged_views = any(isinstance(of_image, (list, tuple)) for of_image in views or ())
        for sample in data_samples:
            try:
                found = self.ground_truth.labelled(sample, merged_views)
            except ValueError as error:
                raise ValueError(f'{type(self).__name__}: {error}') from None
            yield sample, *found

    def _logger(self) -> Logger:
        """That of the runner that evaluates, which need not be MMEngine's current one."""
        loop = running_loop('evaluator')
        return loop.runner.logger if loop else MMLogger.get_current_instance()

    def _require_images(self, results: Sequence[dict]) -> None:
        if not results:
            raise ValueError(
                f'{type(self).__name__}: no image was evaluated; check ann_file, data_prefix and filter_cfg of the '
                'data set'
            )

    def _require(self, condition: Any, rule: str, value: object) -> None:
        if not condition:
            raise ValueError(f'{type(self).__name__}: {rule}, got {value!r}')


def ranked(scores: Tensor) -> Tensor:
    """Indices by falling score. What has -inf or NaN, which a diverged network gives, is left out."""
    scores = scores.cpu()
    order = scores.argsort(descending=True, stable=True)
    return order[scores[order] > -np.inf]


def listed(value: object) -> list:
    """One value or several as a list."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, dict)) else [value]
