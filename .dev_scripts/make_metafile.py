"""Write configs/nrpn/metafile.yml from the results in docs/results: only configs that were run have a row.

python .dev_scripts/make_metafile.py
"""

import json
import statistics
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
METRICS = ('AR@10', 'AR@100', 'AR@1000', 'AR_s@100', 'AR_m@100', 'AR_l@100', 'FP@10', 'FP@100')
# folder of results: what a run was trained and measured on
RESULTS = {
    'shapes': dict(train='shapes train (drawn, 256 px)', test='shapes val (drawn, 256 px)'),
    'whole': dict(train='VOC 2007 train (320 px)', test='VOC 2007 val (320 px)'),
    'lab/val': dict(
        train='VOC 2007 train (320 px, features of the frozen backbone)',
        test='VOC 2007 val (320 px, features of the frozen backbone)',
    ),
}
COLLECTION = {
    'Name': 'nRPN',
    'Metadata': {
        'Training Techniques': ['Hard negatives drawn by a negative RPN', 'Overlap Loss'],
        'Architecture': ['RPN', 'FPN'],
    },
    'Paper': {
        'URL': 'https://arxiv.org/abs/2208.01916',
        'Title': 'nRPN: Hard Example Learning for Region Proposal Networks',
    },
    'README': 'configs/nrpn/README.md',
}


def config_of(run: dict, folder: Path) -> str:
    """The config in configs/nrpn that a run had: the laboratory trains copies, whose list lies beside the results."""
    path = Path(run['config'])
    if path.parts[0] == 'configs':
        return str(path)
    row = json.loads(folder.with_suffix('.json').read_text())[path.stem]
    return str((folder.parent / row['config']).resolve().relative_to(ROOT)) if list(row) == ['config'] else None


def models(folder: Path, train: str, test: str) -> list:
    results = json.loads((folder / 'results.json').read_text())
    runs = {}
    for run in results['runs']:
        runs.setdefault(config_of(run, folder), []).append(run)
    runs.pop(None, None)
    return [
        {
            'Name': Path(config).stem,
            'In Collection': 'nRPN',
            'Config': config,
            'Metadata': {
                'Training Data': train,
                'Training Resources': results['environment']['device'],
                'Seeds': len(of_config),
                'Commit': results['environment']['commit'],
            },
            'Results': [
                {
                    'Task': 'Region Proposal',
                    'Dataset': test,
                    'Metrics': {
                        m: round(100 * statistics.mean(r['metrics'][m] for r in of_config), 1) for m in METRICS
                    },
                }
            ],
        }
        for config, of_config in runs.items()
    ]


def metafile() -> str:
    rows = [row for name, data in RESULTS.items() for row in models(ROOT / 'docs' / 'results' / name, **data)]
    head = '# Written by .dev_scripts/make_metafile.py from docs/results; percent, means over seeds.\n'
    return head + yaml.safe_dump({'Collections': [COLLECTION], 'Models': rows}, sort_keys=False, width=120)


if __name__ == '__main__':
    (ROOT / 'configs' / 'nrpn' / 'metafile.yml').write_text(metafile())
