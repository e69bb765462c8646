import contextlib
import copy
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import torch
from detectors import build_detector, tell_step
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import set_random_seed
from torch.profiler import ProfilerActivity, profile, record_function

from mmdet_nrpn.utils import without_nrpn

NUM_OBJECTS = 8  # per image


def now(device: torch.device) -> float:
    """Seconds on a clock that only differences tell something of, once the device has done all it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()


class TimedModel:
    """A config's model with its optimizer, whose steps and predictions are timed on synthetic images.

    Args:
        config (Path): The config. Pretrained weights are not loaded.
        size (tuple[int, int]): Height and width of the images in pixels.
        batch (int): Images per step.
        device (str): 'cpu' or 'cuda'.
        amp (bool): Train in mixed precision.
    """

    def __init__(self, config: Path, size: Tuple[int, int], batch: int, device: str, amp: bool) -> None:
        cfg = Config.fromfile(config)
        self.name, self.size, self.batch, self.device = config.stem, size, batch, torch.device(device)
        if 'backbone' in cfg.get('model', {}):
            cfg.model.backbone.init_cfg = None
        set_random_seed(0)
        try:
            self.model = build_detector(cfg)
        except ValueError as error:
            raise ValueError(f'{config}: {error}') from None
        self.model.init_weights()
        self.model.to(self.device)
        wrapper = dict(cfg.optim_wrapper, **(dict(type='AmpOptimWrapper') if amp else {}))
        self.optim = build_optim_wrapper(self.model, wrapper)
        heads = cfg.model.get('roi_head', {}).get('bbox_head', {})
        head = heads[0] if isinstance(heads, list) else heads  # a cascade has several
        self.num_classes = head.get('num_classes', 2)  # an RPN asks for none, and synthetic labels start at 1

    @contextlib.contextmanager
    def weights_of(self, other: 'TimedModel') -> Iterator[bool]:
        """Have the other model's weights for as long as this lasts, where all but an nRPN's fit.

        Yields:
            bool: Whether they fit. If not, the model keeps its own.
        """
        own, theirs = copy.deepcopy(self._weights()), other._weights()
        fit = {name: tensor.shape for name, tensor in own.items()} == {name: t.shape for name, t in theirs.items()}
        if fit:
            self.model.load_state_dict(theirs, strict=False)
        yield fit
        self.model.load_state_dict(own, strict=False)

    def _weights(self) -> Dict[str, torch.Tensor]:
        """All but an nRPN's, which not every model has."""
        return without_nrpn(self.model.state_dict())

    def synthetic_batch(self) -> dict:
        """Images of noise with random objects, ignored ones and masks: the same ones always."""
        shapes = [[3, *self.size]] * self.batch
        return demo_mm_inputs(
            self.batch, shapes, num_items=[NUM_OBJECTS] * self.batch, num_classes=self.num_classes, with_mask=True
        )

    def step(self) -> float:
        """Seconds of one training step: data preprocessing, forward, backward and the optimizer's step."""
        self.model.train()
        tell_step(0)
        data = self.synthetic_batch()
        start = now(self.device)
        self.model.train_step(data, self.optim)
        return now(self.device) - start

    @torch.no_grad()
    def predict(self) -> float:
        """Seconds of one prediction."""
        self.model.eval()
        data = self.synthetic_batch()
        start = now(self.device)
        self.model.test_step(data)
        return now(self.device) - start

    @torch.no_grad()
    def outputs(self) -> List[torch.Tensor]:
        """What the model predicts, as plain tensors."""
        self.model.eval()
        predicted = [sample.pred_instances for sample in self.model.test_step(self.synthetic_batch())]
        return [tensor for instances in predicted for tensor in (instances.bboxes, instances.scores)]

    def parts(self) -> Dict[str, float]:
        """What nRPN's parts take in a training step, under torch's profiler, which makes small operations look slow.

        Returns:
            dict[str, float]: Seconds by name; ``'the step'`` is the whole.
        """
        self.model.train()
        tell_step(0)
        data = self.synthetic_batch()
        with profile(activities=self._activities()) as profiler, record_function('the step'):
            with self.optim.optim_context(self.model):
                losses = self.model(**self.model.data_preprocessor(data, True), mode='loss')
            ours = {name: losses.pop(name) for name in list(losses) if 'loss_nrpn' in name}
            if ours:
                with record_function('nRPN: backward'):
                    self.model.parse_losses(ours)[0].backward(retain_graph=True)
            self.optim.update_params(self.model.parse_losses(losses)[0])
            now(self.device)
        # on a GPU, launching the kernels may take longer than running them
        seconds = {
            e.key: max(e.cpu_time_total, _either(e, 'device_time_total', 'cuda_time_total')) / 1e6
            for e in profiler.key_averages()
        }
        return {name: s for name, s in seconds.items() if name.startswith('nRPN') or name == 'the step'}

    def peak_memory(self) -> float:
        """Most memory that a training step's tensors take, in MiB, without weights and the optimizer's state."""
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.step()
            return (torch.cuda.max_memory_allocated() - before) / 2**20
        with profile(activities=self._activities(), profile_memory=True) as profiler:
            self.step()
        return _peak_of_cpu_tensors(profiler) / 2**20

    def _activities(self) -> List[ProfilerActivity]:
        return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.device.type == 'cuda' else [])]


def _either(event: Any, name: str, name_before: str) -> Any:
    """torch 2.1 has other names for some of what an event of the profiler tells."""
    return getattr(event, name if hasattr(event, name) else name_before)


def _peak_of_cpu_tensors(profiler: profile) -> int:
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == '[memory]']
    now = peak = 0
    for event in sorted(events, key=lambda e: _either(e, 'start_ns', 'start_us')()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak
