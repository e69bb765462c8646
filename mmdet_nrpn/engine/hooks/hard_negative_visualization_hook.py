from functools import partial
from typing import Any, Dict, List, Optional

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_flip, bbox_overlaps, get_box_tensor
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ...models import HardNegativeRPNHead, NRPNSampler
from ...utils import check_number, rpn_of
from ...visualization import ProposalErrors, SampledNegatives, find_proposal_errors

# An anchor that overlaps another by this IoU is the same one, in an image that may since have been flipped.
SAME_ANCHOR_IOU = 0.7
# Images per process whose hard negatives are remembered: 128 boxes each.
MAX_REMEMBERED = 2000


@HOOKS.register_module()
class HardNegativeVisualizationHook(Hook):
    """Shows, where MMEngine's visualizer writes (local files, TensorBoard, WandB, …), whether nRPN works (not in the
    paper).

    Nothing of it runs unless a config has it, and training is the same with it: no random number is drawn.

    Beside what ``HardNegativeRPNHead`` logs by itself (``nrpn_false_positives``, ``rpn_hard_neg_score``,
    ``rpn_random_neg_score``) it logs

    - ``hard_neg_repeats``, in every step that sees an image again: the share of the negatives sampled as hard that were
      sampled as hard when the image was last seen, too (an anchor within an IoU of 0.7, after flips and resizing are
      undone, resizing of the batch by the data preprocessor included; other ways of moving objects are not undone).
      Each process remembers 2000 images of its own.
    - ``nrpn_fp_recall``, every ``interval`` steps: the share of the RPN's false positives (among its top 100 proposals
      per image) that one of nRPN's top 100 regions overlaps by 0.5.

    Where there is nothing to tell, the last value stays in the log. Every ``interval`` steps it also draws a figure
    ``hard_negatives``: objects, the RPN's false positives, nRPN's regions, and the sampled negatives, as they were in
    that step.

    Args:
        interval (int): Steps between two figures. Defaults to 200.
        num_pictures (int): Images of the batch to draw. Defaults to 2.
        num_boxes (int): False positives and regions per image, best scores first. Defaults to 8.

    Raises:
        ValueError: If the model's RPN is no ``HardNegativeRPNHead``, or is that of a detector inside the model
            (``SoftTeacher``, ``QDTrack``), which is trained on batches that the hook does not see; before training.

    Example:
        >>> default_hooks = dict(hard_negatives=dict(type='HardNegativeVisualizationHook', interval=200))
    """

    def __init__(self, interval: int = 200, num_pictures: int = 2, num_boxes: int = 8) -> None:
        for name, value in dict(interval=interval, num_pictures=num_pictures, num_boxes=num_boxes).items():
            check_number('HardNegativeVisualizationHook', name, value, 1, integer=True)
        self.interval, self.num_pictures, self.num_boxes = int(interval), int(num_pictures), int(num_boxes)
        self.outputs: Dict[str, Any] = {}
        self.handles: list = []
        self.last_hard: Dict[str, Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        try:
            self.head = rpn_of(model)
        except ValueError as error:
            raise ValueError(f'HardNegativeVisualizationHook: {error}; leave the hook out') from None
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
        self.outputs[name] = output

    def after_train(self, runner: Runner) -> None:
        for handle in self.handles:
            handle.remove()
        self.outputs.clear()

    @torch.no_grad()
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Optional[dict] = None, outputs: Optional[dict] = None
    ) -> None:
        sampled = self._sampled_negatives() if isinstance(self.head.sampler, NRPNSampler) else None
        if sampled is not None and data_batch is not None:
            self._log_repeats(runner, sampled, data_batch['data_samples'])
        if self.every_n_train_iters(runner, self.interval):
            outs, nrpn_outs = self.outputs['rpn'], self.outputs.get('nrpn')
            errors = find_proposal_errors(self.head, outs, nrpn_outs, self.outputs['data']['data_samples'])
            self._log_recall(runner, errors)
            images = self._images()
            # here, so that importing this package does not import what draws
            from ...visualization.hard_negatives import draw_hard_negatives

            if images:
                figure = draw_hard_negatives(images, errors[: len(images)], sampled, self.num_boxes)
                runner.visualizer.add_image('hard_negatives', figure, step=runner.iter + 1)

    def _images(self) -> List[np.ndarray]:
        """The first images as the network saw them, RGB; none where it sees something else, as in the laboratory."""
        images: List[np.ndarray] = []
        inputs = self.outputs['data']['inputs']
        if not isinstance(inputs, Tensor) or inputs.shape[1] != 3:
            return images
        mean, std = (getattr(self.preprocessor, name, default) for name, default in (('mean', 0), ('std', 1)))
        pixels = (inputs[: self.num_pictures].float() * std + mean).round().clamp(0, 255).byte()
        # pipelines load BGR
        pixels = pixels if self.preprocessor._channel_conversion else pixels.flip(1)
        for image, sample in zip(pixels, self.outputs['data']['data_samples']):
            height, width = sample.img_shape[:2]
            images.append(image[:, :height, :width].permute(1, 2, 0).cpu().numpy())
        return images

    def _sampled_negatives(self) -> List[SampledNegatives]:
        """The negatives sampled from each image."""
        sizes = [level.shape[-2:] for level in self.outputs['rpn'][0]]
        levels = self.head.prior_generator.grid_priors(sizes, device=self.outputs['rpn'][0][0].device)
        priors = torch.cat([get_box_tensor(level) for level in levels])
        results = self.head.sampling_results
        return [
            SampledNegatives(priors[result.hard_anchors].cpu().numpy(), priors[result.random_anchors].cpu().numpy())
            for result in results
        ]

    def _log_repeats(self, runner: Runner, sampled: List[SampledNegatives], loaded: SampleList) -> None:
        """``loaded`` are the samples as the pipeline packed them, before the data preprocessor."""
        repeats = []
        for negatives, sample, before in zip(sampled, self.outputs['data']['data_samples'], loaded):
            name = sample.metainfo.get('img_path')  # pipelines may leave it out
            if name is None or len(negatives.hard) == 0:
                continue
            now = _in_original_pixels(torch.from_numpy(negatives.hard), sample.metainfo, before.metainfo)
            if name in self.last_hard:
                repeats.append(bbox_overlaps(now, self.last_hard[name]).max(dim=1).values >= SAME_ANCHOR_IOU)
            if name in self.last_hard or len(self.last_hard) < MAX_REMEMBERED:
                self.last_hard[name] = now
        if repeats:
            runner.message_hub.update_scalar('train/hard_neg_repeats', torch.cat(repeats).float().mean().item())

    def _log_recall(self, runner: Runner, errors: List[ProposalErrors]) -> None:
        if self.head.nrpn_head is None:
            return
        predicted = np.concatenate([of_image.predicted_by_nrpn for of_image in errors])
        if len(predicted) > 0:
            runner.message_hub.update_scalar('train/nrpn_fp_recall', predicted.mean().item())


def _in_original_pixels(bboxes: Tensor, meta: dict, loaded_meta: dict) -> Tensor:
    """Undo flips and resizing: the pipeline's, and the batch augmentations' since ``loaded_meta``."""
    if meta.get('flip'):
        bboxes = bbox_flip(bboxes, meta['img_shape'], meta['flip_direction'])
    (height, width), (loaded_height, loaded_width) = meta['img_shape'][:2], loaded_meta['img_shape'][:2]
    batch_scale = bboxes.new_tensor((width / loaded_width, height / loaded_height))
    return bboxes / (batch_scale * bboxes.new_tensor(loaded_meta.get('scale_factor', (1, 1)))).repeat(2)
