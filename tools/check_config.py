"""Look at configs and their data before any training: build models and data sets, look at images and weights.

    python tools/check_config.py CONFIG...

Each problem is one line that names the config, the key or file, and what to do. tools/benchmark does the same first.
"""

import contextlib
import copy
import logging
import sys
import warnings
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmdet_nrpn.evaluation import GroundTruth
from mmdet_nrpn.utils import load_weights

sys.path.append(str(Path(__file__).resolve().parent))
from arguments import Parser, existing_file
from config_check.data_check import build_checked, compare_labels
from config_check.explain import explain, named
from config_check.training_check import check_evaluator, check_training, check_weights
from detectors import build_model, read_config


class Row(NamedTuple):
    """A config that is to be trained, or whose checkpoint is to be measured."""

    source: str  # named in the messages
    cfg: Config
    checkpoint: Optional[Path] = None


def problems(rows: Iterable[Row]) -> List[str]:
    """A line for each config that cannot be run as it is: its name, what is wrong and what to do."""
    found: List[str] = []
    datasets: Dict[str, Dataset] = {}  # those that several configs share are looked at once
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of models that are built only to be looked at
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter('ignore')
            for row in rows:
                try:
                    _check(copy.deepcopy(row.cfg), row.checkpoint, datasets)  # building writes into a config
                except Exception as error:  # whatever a user's config brings up is told, not raised
                    found.append(f'{row.source}: {explain(error)}')
    finally:
        logging.disable(disabled)
        logger = MMLogger.get_current_instance()
        logger.setLevel(logger.level)  # MMEngine's loggers remember what was disabled until then
    return found


def _check(cfg: Config, checkpoint: Optional[Path], datasets: Dict[str, Dataset]) -> None:
    if not cfg.get('val_dataloader'):
        raise ValueError('val_dataloader is not there, and all is measured on it; see docs/measuring.md')
    model = build_model(cfg)
    is_tracker = 'tracker' in cfg.model
    if checkpoint is not None:
        load_weights(model, checkpoint)
    else:
        with named(f'optim_wrapper={cfg.optim_wrapper}; check its types and settings'):
            optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        check_training(cfg, optim_wrapper)
        train_set = _build_data(cfg, 'train_dataloader', datasets)
    val_set = _build_data(cfg, 'val_dataloader', datasets)
    if not is_tracker:
        GroundTruth(val_set)(val_set[0]['data_samples'].to_dict())  # as the metric will take it
    if cfg.get('val_evaluator'):
        check_evaluator(cfg)
    if checkpoint is None:
        if not is_tracker:  # MMDetection's train on one of the classes that they have in validation
            compare_labels(train_set, val_set, model)
        check_weights(cfg)


def _build_data(cfg: Config, loader: str, datasets: Dict[str, Dataset]) -> Dataset:
    key = repr((loader, cfg[loader].dataset.to_dict()))
    if key not in datasets:
        datasets[key] = build_checked(cfg[loader].dataset, f'{loader}.dataset')
    with named(loader):  # its samplers
        Runner.build_dataloader({**cfg[loader], 'dataset': datasets[key]})
    return datasets[key]


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument('configs', type=existing_file, nargs='+')
    configs = parser.parse_args().configs
    rows, wrong = [], []
    for config in configs:
        try:
            rows.append(Row(str(config), read_config(config)))
        except ValueError as error:
            wrong.append(str(error))
    wrong += problems(rows)
    if wrong:
        sys.exit('\n'.join(wrong))
    print(f'{len(configs)} configs and their data: nothing wrong was found')


if __name__ == '__main__':
    main()
