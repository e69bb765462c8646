"""Look at configs and their data before any training: build models and data sets, look at images and weights.

    python tools/check_config.py CONFIG...

Each problem is one line that names the config, the key or file, and what to do. tools/benchmark does the same first.
"""

import argparse
import contextlib
import copy
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIMIZERS
from torch.utils.data import Dataset

from mmdet_nrpn.evaluation import GroundTruth
from mmdet_nrpn.utils import load_weights, read_checkpoint

sys.path.append(str(Path(__file__).resolve().parent))
from arguments import existing_file
from config_check.data_check import build_checked
from config_check.label_check import compare_labels
from config_check.training_check import check_training
from config_check.weights import missing_weights
from detectors import build_model


class Row(NamedTuple):
    """A config that is to be trained, or whose checkpoint is to be measured."""

    source: str  # named in the messages
    cfg: Config
    checkpoint: Optional[Path] = None


def problems(rows: Iterable[Row]) -> List[str]:
    """A line for each config that cannot be run as it is."""
    check, disabled = Check(), logging.root.manager.disable
    logging.disable(logging.WARNING)  # of models that are built only to be looked at
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter('ignore')
            return [line for line in map(check, rows) if line]
    finally:
        logging.disable(disabled)


class Check:
    """Gives one line that names the config, what is wrong and what to do; None if nothing is.

    Data sets that several configs share are looked at once.
    """

    def __init__(self) -> None:
        self.datasets: Dict[str, Dataset] = {}

    def __call__(self, row: Row) -> Optional[str]:
        try:
            self._check(copy.deepcopy(row.cfg), row.checkpoint)  # building writes into a config
        except Exception as error:  # whatever a user's config brings up is told, not raised
            return f'{row.source}: {_explain(error)}'
        return None

    def _check(self, cfg: Config, checkpoint: Optional[Path]) -> None:
        if not cfg.get('val_dataloader'):
            raise ValueError('val_dataloader is not there, and all is measured on it; see docs/measuring.md')
        model = build_model(cfg)
        if checkpoint is None:
            _check_named(cfg)
            check_training(cfg, build_optim_wrapper(model, cfg.optim_wrapper))
            train_set = self._dataset(cfg, 'train_dataloader')
        else:
            load_weights(model, checkpoint)
        val_set = self._dataset(cfg, 'val_dataloader')
        is_tracker = 'tracker' in cfg.model
        if not is_tracker:
            GroundTruth(val_set)(val_set[0]['data_samples'].to_dict())  # as the metric will take it
        if checkpoint is None:
            if not is_tracker:  # MMDetection's train on one of the classes that they have in validation
                compare_labels(train_set, val_set, model)
            missing = missing_weights(cfg)
            if missing:
                raise ValueError(missing)

    def _dataset(self, cfg: Config, loader: str) -> Dataset:
        key = repr((loader, cfg[loader].dataset.to_dict()))
        if key not in self.datasets:
            self.datasets[key] = build_checked(cfg[loader].dataset, f'{loader}.dataset')
        return self.datasets[key]


def _check_named(cfg: Config) -> None:
    optimizer = cfg.optim_wrapper.get('optimizer', {}).get('type')
    if isinstance(optimizer, str) and OPTIMIZERS.get(optimizer) is None:  # MMEngine's error names no key
        raise ValueError(f"optim_wrapper.optimizer.type='{optimizer}' is not registered; check its spelling")
    if '://' not in (cfg.get('load_from') or '://'):
        read_checkpoint(cfg.load_from)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', type=existing_file, nargs='+')
    configs = parser.parse_args().configs
    wrong = problems(Row(str(config), Config.fromfile(config)) for config in configs)
    if wrong:
        sys.exit('\n'.join(wrong))
    print(f'{len(configs)} configs and their data: nothing wrong was found')


if __name__ == '__main__':
    main()
