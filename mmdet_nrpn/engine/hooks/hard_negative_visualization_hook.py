from functools import partial
from typing import Any, Dict, List, Optional

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures.bbox import bbox_flip, bbox_overlaps, get_box_tensor
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ...models import HardNegativeRPNHead, NRPNSampler
from ...utils import rpn_of
from ...visualization import DrawnNegatives, look

# An anchor that overlaps another by this IoU is the same one, in a picture that may since have been flipped.
SAME_ANCHOR = 0.7
# Of so many pictures a process remembers what was drawn: 128 boxes each.
REMEMBERED = 2000


@HOOKS.register_module()
class HardNegativeVisualizationHook(Hook):
    """Shows, where MMEngine's visualizer writes (local files, TensorBoard, WandB, …), whether nRPN works (ours).

    Nothing of it runs unless a config has it, and training is the same with it: no random number is drawn.

    Beside what ``HardNegativeRPNHead`` logs by itself (``nrpn_false_positives``, ``rpn_hard_neg_score``,
    ``rpn_random_neg_score``) it logs

    - ``hard_neg_repeats``, in every step that sees a picture again: the share of the negatives drawn as hard that were
      drawn as hard when the picture was last seen, too (an anchor within an IoU of 0.7, after flips and resizing are
      undone; other ways of moving objects are not undone). Each process remembers 2000 pictures of its own.
    - ``nrpn_fp_recall``, every ``interval`` steps: the share of the RPN's false positives (among its 100 best
      proposals of a picture, scored at least ``false_positives.score_thr``) that one of nRPN's 100 best regions
      overlaps by 0.5.

    Where there is nothing to tell, the last value stays in the log. Every ``interval`` steps it also draws a picture
    ``hard_negatives``: objects, the RPN's false positives, nRPN's regions, and the negatives drawn, as they were in
    that step.

    Args:
        interval (int): Steps between two pictures. Defaults to 200.
        num_pictures (int): Pictures of the batch to draw. Defaults to 2.
        num_boxes (int): False positives and regions a picture, the best-scored. Defaults to 8.

    Raises:
        ValueError: If the model's RPN is no ``HardNegativeRPNHead``; before training.

    Example:
        >>> default_hooks = dict(hard_negatives=dict(type='HardNegativeVisualizationHook', interval=200))
    """

    def __init__(self, interval: int = 200, num_pictures: int = 2, num_boxes: int = 8) -> None:
        for name, value in dict(interval=interval, num_pictures=num_pictures, num_boxes=num_boxes).items():
            if value < 1:
                raise ValueError(f'HardNegativeVisualizationHook: {name} must be >= 1, got {name}={value}')
        self.interval, self.num_pictures, self.num_boxes = interval, num_pictures, num_boxes
        self.seen: Dict[str, Any] = {}
        self.handles: list = []
        self.last_drawn: Dict[str, Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.head = rpn_of(model)
        if not isinstance(self.head, HardNegativeRPNHead):
            raise ValueError(
                f'HardNegativeVisualizationHook needs a HardNegativeRPNHead, the RPN is {type(self.head).__name__}; '
                "write rpn_head=dict(type='HardNegativeRPNHead'), or leave the hook out"
            )
        self.preprocessor = model.data_preprocessor
        watched = dict(data=self.preprocessor, rpn=self.head, nrpn=self.head.nrpn_head)
        self.handles = [
            module.register_forward_hook(partial(self._keep, name)) for name, module in watched.items() if module
        ]

    def _keep(self, name: str, module: nn.Module, args: tuple, output: tuple) -> None:
        self.seen[name] = output

    def after_train(self, runner: Runner) -> None:
        for handle in self.handles:
            handle.remove()
        self.seen.clear()

    @torch.no_grad()
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Optional[dict] = None, outputs: Optional[dict] = None
    ) -> None:
        drawn = self._drawn() if isinstance(self.head.sampler, NRPNSampler) else None
        if drawn is not None:
            self._log_repeats(runner, drawn)
        if self.every_n_train_iters(runner, self.interval):
            looks = look(self.head, self.seen['rpn'], self.seen.get('nrpn'), self.seen['data']['data_samples'])
            self._log_recall(runner, looks)
            images = self._images()
            # here, so that importing this package does not import what draws
            from ...visualization.hard_negatives import draw_hard_negatives

            if images:
                picture = draw_hard_negatives(images, looks[: len(images)], drawn, self.num_boxes)
                runner.visualizer.add_image('hard_negatives', picture, step=runner.iter + 1)

    def _images(self) -> List[np.ndarray]:
        """The first pictures as the network saw them, RGB; none where it sees something else, as in the laboratory."""
        images: List[np.ndarray] = []
        inputs = self.seen['data']['inputs']
        if not isinstance(inputs, Tensor) or inputs.shape[1] != 3:
            return images
        mean, std = (getattr(self.preprocessor, name, default) for name, default in (('mean', 0), ('std', 1)))
        pixels = (inputs[: self.num_pictures].float() * std + mean).round().clamp(0, 255).byte()
        # pipelines load BGR
        pixels = pixels if self.preprocessor._channel_conversion else pixels.flip(1)
        for image, sample in zip(pixels, self.seen['data']['data_samples']):
            height, width = sample.img_shape[:2]
            images.append(image[:, :height, :width].permute(1, 2, 0).cpu().numpy())
        return images

    def _drawn(self) -> List[DrawnNegatives]:
        """The anchors drawn of each picture."""
        sizes = [level.shape[-2:] for level in self.seen['rpn'][0]]
        levels = self.head.prior_generator.grid_priors(sizes, device=self.seen['rpn'][0][0].device)
        priors = torch.cat([get_box_tensor(level) for level in levels])
        results = self.head._raw_positive_infos['sampling_results']
        return [
            DrawnNegatives(priors[result.hard_negatives].cpu().numpy(), priors[result.random_negatives].cpu().numpy())
            for result in results
        ]

    def _log_repeats(self, runner: Runner, drawn: List[DrawnNegatives]) -> None:
        repeats = []
        for negatives, sample in zip(drawn, self.seen['data']['data_samples']):
            name = sample.metainfo.get('img_path')  # pipelines may leave it out
            if name is None or len(negatives.hard) == 0:
                continue
            now = _in_original_pixels(torch.from_numpy(negatives.hard), sample.metainfo)
            if name in self.last_drawn:
                repeats.append(bbox_overlaps(now, self.last_drawn[name]).max(dim=1).values >= SAME_ANCHOR)
            if name in self.last_drawn or len(self.last_drawn) < REMEMBERED:
                self.last_drawn[name] = now
        if repeats:
            runner.message_hub.update_scalar('train/hard_neg_repeats', torch.cat(repeats).float().mean().item())

    def _log_recall(self, runner: Runner, looks: list) -> None:
        if self.head.nrpn_head is None:
            return
        score_thr = self.head.nrpn_head.train_cfg.false_positives['score_thr']
        foreseen = [f for seen in looks for f in seen.foreseen[seen.false_positive_scores >= score_thr]]
        if foreseen:
            runner.message_hub.update_scalar('train/nrpn_fp_recall', sum(foreseen) / len(foreseen))


def _in_original_pixels(bboxes: Tensor, meta: dict) -> Tensor:
    if meta.get('flip'):
        bboxes = bbox_flip(bboxes, meta['img_shape'], meta['flip_direction'])
    return bboxes / bboxes.new_tensor(meta.get('scale_factor', (1, 1))).repeat(2)
