import copy
import re
from typing import Dict, Optional

from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIMIZERS
from mmengine.utils import import_modules_from_strings
from torch.utils.data import Dataset

from mmdet_nrpn.evaluation import GroundTruth
from mmdet_nrpn.utils import load_weights, read_checkpoint

from .data_check import build_checked
from .label_check import compare_labels
from .runs import Run
from .training_check import check_training


class Check:
    """Finds out before any training whether runs can start: builds model and data sets, looks at images and checkpoint.

    Calling it gives one line that names the config, what is wrong and what to do; None if nothing is. Data sets that
    several configs share are looked at once.
    """

    def __init__(self) -> None:
        self.datasets: Dict[str, Dataset] = {}

    def __call__(self, run: Run) -> Optional[str]:
        try:
            self._check(run)
        except Exception as error:  # whatever a user's config brings up is told, not raised
            return f'{run.source}: {_explain(error)}'
        return None

    def _check(self, run: Run) -> None:
        cfg = copy.deepcopy(run.cfg)  # building a model writes into its config
        register_all_modules(init_default_scope=True)
        import_modules_from_strings(**cfg.custom_imports)
        model = MODELS.build(cfg.model)
        if run.checkpoint is None:
            optimizer = cfg.optim_wrapper.get('optimizer', {}).get('type')
            if isinstance(optimizer, str) and OPTIMIZERS.get(optimizer) is None:  # MMEngine's error names no key
                raise ValueError(f"optim_wrapper.optimizer.type='{optimizer}' is not registered; check its spelling")
            optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
            if '://' not in (cfg.get('load_from') or '://'):
                read_checkpoint(cfg.load_from)
            check_training(cfg, optim_wrapper)
            train_set = self._dataset(cfg, 'train_dataloader')
        else:
            load_weights(model, run.checkpoint)
        test_set = self._dataset(cfg, 'test_dataloader')
        GroundTruth(test_set)(test_set[0]['data_samples'].to_dict())  # as the metric will take it
        if run.checkpoint is None:
            compare_labels(train_set, test_set, model)

    def _dataset(self, cfg: Config, loader: str) -> Dataset:
        key = repr((loader, cfg[loader].dataset.to_dict()))
        if key not in self.datasets:
            self.datasets[key] = build_checked(cfg[loader].dataset, f'{loader}.dataset')
        return self.datasets[key]


def _explain(error: Exception) -> str:
    """One line for an exception; for the registry's and the file system's with what to do."""
    text = ' '.join(str(error).split())
    missing = re.search(r'(\w+) is not in the (.+?) registry', text)
    if missing:
        return f"type='{missing[1]}' is not registered ({missing[2]}); check its spelling, and custom_imports"
    if isinstance(error, FileNotFoundError):
        return f'{error.filename or text} is not there; check data_root, ann_file, data_prefix or what sets them'
    if isinstance(error, ValueError):  # of this project's own, most of them, which say what to do
        return text
    return f'{type(error).__name__}: {text}'
