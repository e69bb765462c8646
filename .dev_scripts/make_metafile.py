"""Write configs/nrpn/metafile.yml from docs/results: only configs that were run as they are today have a row.

python .dev_scripts/make_metafile.py
"""

import csv
import statistics
import sys
from pathlib import Path
from typing import Dict, Optional

import yaml
from mmengine.config import Config

ROOT = Path(__file__).parents[1]
METAFILE = ROOT / 'configs' / 'nrpn' / 'metafile.yml'
sys.path += [str(ROOT / 'tools'), str(ROOT / 'tools' / 'benchmark')]
from config_hash import config_hash  # noqa: E402
from mmdet_tools import read_each_metafile_once  # noqa: E402

METRICS = ('AR@10', 'AR@100', 'AR@1000', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'FP@10', 'FP@100')
# folder of results: what a run was trained and measured on
RESULTS = {
    'shapes': dict(
        configs='*_demo_shapes.py', train='shapes train (synthetic, 256 px)', test='shapes val (synthetic, 256 px)'
    ),
    'whole': dict(configs='*_320px_voc07.py', train='VOC 2007 train (320 px)', test='VOC 2007 val (half, 320 px)'),
}
COLLECTION = {
    'Name': 'nRPN',
    'Metadata': {
        'Training Techniques': ['Hard negatives by a negative RPN', 'Overlap Loss'],
        'Architecture': ['RPN', 'FPN'],
    },
    'Paper': {
        'URL': 'https://arxiv.org/abs/2208.01916',
        'Title': 'nRPN: Hard Example Learning for Region Proposal Networks',
    },
    'README': 'configs/nrpn/README.md',
}


def read_runs(table: Path) -> list:
    """The runs of a table, a dict each; the lines before them that begin with # are the environment, read as ``device``
    and so on."""
    lines = (table / 'runs.csv').read_text().splitlines()
    environment = dict(line[2:].split(': ', 1) for line in lines if line.startswith('# '))
    return [{**environment, **run} for run in csv.DictReader(line for line in lines if not line.startswith('#'))]


def models(table: Path, train: str, test: str, today: Dict[str, str], weights: Dict[str, str]) -> list:
    """A row per config: those that were run as they are today, which their hash tells.

    Args:
        table (Path): Folder of the results.
        train (str): Data that were trained on.
        test (str): Data that were measured on.
        today (dict[str, str]): Configs' names by their hashes.
        weights (dict[str, str]): URLs of published checkpoints by their configs' names.
    """
    of_today = {}
    for run in read_runs(table):
        if run['config_hash'] in today:
            of_today.setdefault(today[run['config_hash']], []).append(run)
    return [
        {
            'Name': name,
            'In Collection': 'nRPN',
            'Config': f'configs/nrpn/{name}.py',
            'Metadata': {
                'Training Data': train,
                'Training Resources': of_config[0]['device'],
                'Seeds': len(of_config),
                'Commit': of_config[0]['commit'],
            },
            'Results': [
                {
                    'Task': 'Region Proposal',
                    'Dataset': test,
                    'Metrics': {m: round(100 * statistics.mean(float(r[m]) for r in of_config), 1) for m in METRICS},
                }
            ],
            **({'Weights': weights[name]} if name in weights else {}),
        }
        for name, of_config in of_today.items()
    ]


def published() -> Dict[str, str]:
    """The URLs that the present metafile has, which release.py wrote."""
    rows = yaml.safe_load(METAFILE.read_text())['Models']
    return {row['Name']: row['Weights'] for row in rows if 'Weights' in row}


def metafile(configs: Path = METAFILE.parent, weights: Optional[Dict[str, str]] = None) -> str:
    weights = published() if weights is None else weights
    rows = []
    for name, data in RESULTS.items():
        files = sorted(configs.glob(data['configs']))
        today = {config_hash(Config.fromfile(file, import_custom_modules=False)): file.stem for file in files}
        rows += models(ROOT / 'docs' / 'results' / name, data['train'], data['test'], today, weights)
    head = '# Written by .dev_scripts/make_metafile.py from docs/results; percent, means over seeds.\n'
    return head + yaml.safe_dump({'Collections': [COLLECTION], 'Models': rows}, sort_keys=False, width=120)


if __name__ == '__main__':
    read_each_metafile_once()
    METAFILE.write_text(metafile())
