from functools import partial
from typing import Any, Dict, List

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures.bbox import get_box_tensor
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ...evaluation import SampledNegatives, find_proposal_errors
from ...models import HardNegativeRPNHead, NRPNSampler
from ...utils import check_number, rpn_of


@HOOKS.register_module()
class HardNegativeVisualizationHook(Hook):
    """Shows, where MMEngine's visualizer writes (local files, TensorBoard, WandB, …), whether nRPN works (not in the
    paper).

    Nothing of it runs unless a config has it, and training is the same with it: no random number is drawn.

    Every ``interval`` steps it draws a figure ``hard_negatives``: objects, the RPN's false positives, nRPN's regions
    and the sampled negatives, as they were in that step. With an nRPN it also logs ``nrpn_fp_recall``: the share of the
    RPN's false positives (among its top 100 proposals per image) that one of nRPN's top 100 regions overlaps by 0.5.
    Where there are none, the last value stays in the log.

    Args:
        interval (int): Steps between two figures. Defaults to 200.
        num_images (int): Images of the batch to draw. Defaults to 2.
        num_boxes (int): False positives and regions per image, best scores first. Defaults to 8.

    Raises:
        ValueError: If the model's RPN is no ``HardNegativeRPNHead``, or is that of a detector inside the model
            (``SoftTeacher``, ``QDTrack``), which is trained on batches that the hook does not see; before training.

    Example:
        >>> default_hooks = dict(hard_negatives=dict(type='HardNegativeVisualizationHook', interval=200))
    """

    def __init__(self, interval: int = 200, num_images: int = 2, num_boxes: int = 8) -> None:
        for name, value in dict(interval=interval, num_images=num_images, num_boxes=num_boxes).items():
            check_number('HardNegativeVisualizationHook', name, value, 1, integer=True)
        self.interval, self.num_images, self.num_boxes = int(interval), int(num_images), int(num_boxes)
        self.outputs: Dict[str, Any] = {}
        self.handles: list = []

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        try:
            self.head = rpn_of(model)
        except ValueError as error:
            raise ValueError(f'HardNegativeVisualizationHook: {error}, or leave the hook out') from None
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
    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        if not self.every_n_train_iters(runner, self.interval):
            return
        outs, nrpn_outs = self.outputs['rpn'], self.outputs.get('nrpn')
        errors = find_proposal_errors(self.head, outs, nrpn_outs, self.outputs['data']['data_samples'])
        predicted = np.concatenate([of_image.predicted_by_nrpn for of_image in errors])
        if nrpn_outs is not None and len(predicted) > 0:
            runner.message_hub.update_scalar('train/nrpn_fp_recall', predicted.mean().item())
        images = self._images()
        if not images:
            return
        # here, so that importing this package does not import what draws
        from ...visualization.hard_negatives import draw_hard_negatives

        sampled = self._sampled_negatives() if isinstance(self.head.sampler, NRPNSampler) else None
        figure = draw_hard_negatives(images, errors[: len(images)], sampled, self.num_boxes)
        runner.visualizer.add_image('hard_negatives', figure, step=runner.iter + 1)

    def _images(self) -> List[np.ndarray]:
        """The first images as the network saw them, RGB; none where it sees something else, as stored features."""
        inputs = self.outputs['data']['inputs']
        if not isinstance(inputs, Tensor) or inputs.shape[1] != 3:
            return []
        mean, std = (getattr(self.preprocessor, name, default) for name, default in (('mean', 0), ('std', 1)))
        pixels = (inputs[: self.num_images].float() * std + mean).round().clamp(0, 255).byte()
        # pipelines load BGR
        pixels = pixels if self.preprocessor._channel_conversion else pixels.flip(1)
        shapes = [sample.img_shape for sample in self.outputs['data']['data_samples']]
        return [image[:, : size[0], : size[1]].permute(1, 2, 0).cpu().numpy() for image, size in zip(pixels, shapes)]

    def _sampled_negatives(self) -> List[SampledNegatives]:
        """The negatives sampled from each image."""
        sampled = []
        for result in self.head.sampling_results:
            is_hard = torch.isin(result.neg_inds, getattr(result, 'hard_neg_inds', result.neg_inds[:0]))
            anchors = get_box_tensor(result.neg_priors).cpu()
            sampled.append(SampledNegatives(*(anchors[mask.cpu()].numpy() for mask in (is_hard, ~is_hard))))
        return sampled
