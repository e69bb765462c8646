"""Draw recall against false positives from a table's results: rows as points, sweeps as curves.

Where rows have several seeds, those with one are left out.

python lab/scripts/draw_frontier.py frontier lab/images/frontier.png
"""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
MARKERS = 'osD^vP*X<>'
LEAST_NAMED = 0.25  # smaller factors lie too close to each other


def kept(name: str, file: str) -> Path | None:
    """A file of a table; docs/results has those that the docs show."""
    places = [ROOT / folder / 'results' / name / file for folder in ('docs', 'lab')]
    return next((path for path in places if path.exists()), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', help='name of the folder with runs.csv, table.md and, if swept, fold.csv')
    parser.add_argument('out', type=Path, help='PNG file')
    args = parser.parse_args()
    runs = pd.read_csv(kept(args.table, 'runs.csv'), comment='#')
    if runs['name'].duplicated().any():
        runs = runs.groupby('name').filter(lambda row: len(row) > 1)
    # the table's order, the baseline first
    rows = kept(args.table, 'table.md').read_text().splitlines()[2:]
    names = [name for row in rows if (name := row.split('|')[1].strip() if '|' in row else '') in set(runs['name'])]
    swept = kept(args.table, 'fold.csv')
    folds = swept and pd.read_csv(swept, comment='#')
    figure = Figure(figsize=(10, 4.4), layout='constrained')
    for axis, budget in zip(figure.subplots(1, 2), (10, 100)):
        columns = [f'FP@{budget}', f'AR@{budget}']
        for name, marker in zip(names, MARKERS):
            of_row = 100 * runs[runs['name'] == name][columns]
            (x, y), spread = of_row.mean(), of_row.std()
            bars = spread.iloc[::-1] if len(of_row) > 1 else (None, None)
            points = axis.errorbar(x, y, *bars, marker, capsize=2, lw=0.8, label=name)
            of_fold = None if folds is None else folds[folds['name'] == name]
            if of_fold is not None and len(of_fold):
                curve = 100 * of_fold.groupby('fold')[columns].mean()
                axis.plot(*curve.to_numpy().T, '.-', color=points[0].get_color(), lw=1)
                for fold, *place in curve[curve.index >= LEAST_NAMED].itertuples():
                    axis.annotate(f'{fold:g}', place, xytext=(3, -10), textcoords='offset points', fontsize=7)
        axis.set(
            xlabel=f'FP@{budget}: false positives among the top {budget}, %', ylabel=f'AR@{budget}: average recall, %'
        )
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    seeds = sorted(int(seed) for seed in runs['seed'].unique())
    shown = f'Mean and standard deviation over seeds {seeds}' if len(seeds) > 1 else f'Seed {seeds[0]}'
    figure.suptitle(f'{shown}; the curve folds the nRPN; better is up and left')
    figure.savefig(args.out, dpi=80)
    Image.open(args.out).convert('RGB').quantize(64).save(args.out, optimize=True)  # a third of the bytes


if __name__ == '__main__':
    main()
