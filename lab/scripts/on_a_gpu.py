"""Run one of the experiments that wait for a GPU, on a machine without a network, in one call of ten minutes.

    python3 lab/scripts/on_a_gpu.py unpack       # wheels, tars and the backbone's weights in .gpu/*/
    python3 lab/scripts/on_a_gpu.py detectors    # Faster R-CNN, stock and nrpn: mAP, FROC, and the RPN inside
    python3 lab/scripts/on_a_gpu.py rpns         # three of them, at the size of the paper
    python3 lab/scripts/on_a_gpu.py rpns --rows paper-nrpn-overlap paper-nrpn
    python3 lab/scripts/on_a_gpu.py cascade      # Cascade RPN
    python3 lab/scripts/on_a_gpu.py times        # of steps and predictions, after the tests that need a GPU

Trainings share the GPU by NVIDIA's MPS. After --limit seconds what there is is kept in $OUT as JOB.tar.gz. The same
command goes on from the last epochs, as long as the machine is the same. STEPS=2 tries a job in two steps on small
images, on a CPU too, where VOC_ROOT and R50_CAFFE name the data and the backbone.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path(tempfile.gettempdir(), 'mmdet_nrpn_gpu')  # not in the repository, which each call copies anew
STEPS = int(os.environ.get('STEPS', 0))
HAS_GPU = shutil.which('nvidia-smi') is not None
CONFIGS = 'configs/nrpn/{}_r50-caffe_fpn_1x_voc07.py'
# of a trained detector: what is measured beside its detections without objectness
MEASURED: Dict[str, dict] = {
    'objectness': {'model.roi_head.type': 'ObjectnessRoIHead'},
    'rpn': {'model.type': 'RPN', 'val_evaluator': [{'type': 'ProposalMetric'}]},
}
# to go on from
EACH_EPOCH = {'default_hooks.checkpoint.interval': 1, 'default_hooks.checkpoint.max_keep_ckpts': 1}
SHORT = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.batch_size': 1,
    'train_dataloader.num_workers': 1,
    'train_dataloader.dataset.indices': STEPS,
    'train_dataloader.dataset.pipeline.2.scale': 160,
    'val_dataloader.dataset.pipeline.1.scale': 160,
    'val_dataloader.dataset.indices': 4,
    **({} if HAS_GPU else {'optim_wrapper.type': 'OptimWrapper'}),
}


class Job(NamedTuple):
    """What is trained, and for how long by the throughput of earlier calls."""

    file: str
    rows: List[str]
    seeds: List[int]
    minutes: int


JOBS = {
    'detectors': Job('detectors_r50.json', ['stock', 'nrpn'], [1, 2], 9),
    'rpns': Job('full_size.json', ['rpn', 'rpn-focal', 'nrpn-focal'], [1, 2], 6),
    'cascade': Job('full_size.json', ['cascade-rpn'], [0, 1], 10),
    'times': Job('', [], [], 3),
}
TIMED = {
    'rpns': [CONFIGS.format(name) for name in ('rpn', 'rpn-focal', 'nrpn-focal', 'paper-nrpn-overlap')],
    'detectors': [
        *[CONFIGS.format(name) for name in ('faster-rcnn', 'nrpn_faster-rcnn', 'paper-nrpn-overlap_faster-rcnn')],
        'lab/' + CONFIGS.format('objectness_faster-rcnn').replace('/nrpn', ''),
    ],
}


def unpack() -> None:
    """Put what was carried along where the jobs look for it."""
    carried = sorted((ROOT / '.gpu').glob('*/*'))
    PLACE.mkdir(parents=True, exist_ok=True)
    for path in carried:
        if path.suffix == '.tar':
            with tarfile.open(path) as tar:
                tar.extractall(PLACE, filter='data')
        elif path.suffix == '.pth':
            shutil.copy(path, PLACE / 'r50_caffe.pth')
    if wheels := [str(path) for path in carried if path.suffix == '.whl']:
        options = ['--no-index', '--no-deps', '--no-compile', '--upgrade', '--target', str(PLACE / 'site')]
        subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', *options, *wheels], check=True)


def environment() -> Dict[str, str]:
    paths = [str(ROOT), str(PLACE / 'site'), os.environ.get('PYTHONPATH')]
    here = dict(VOC_ROOT=f'{PLACE}/VOCdevkit/', R50_CAFFE=f'{PLACE}/r50_caffe.pth', VOC_TRAIN='train')
    given = {**here, **os.environ}
    lists = Path(given['VOC_ROOT'], 'VOC2007', 'ImageSets', 'Main').resolve()
    return {
        'VOC_VAL': os.path.relpath(ROOT / 'docs' / 'results' / 'voc07_val_half', lists),
        'CUDA_MPS_PIPE_DIRECTORY': f'{PLACE}/mps',
        'CUDA_MPS_LOG_DIRECTORY': f'{PLACE}/mps',
        **given,
        'PYTHONPATH': os.pathsep.join(filter(None, paths)),
    }


def rows_of(file: str, names: List[str]) -> Dict[str, dict]:
    """Rows of a file in lab/results, which this job trains; their configs are found from anywhere."""
    folder = ROOT / 'lab' / 'results'
    rows = json.loads((folder / file).read_text())
    changes = {**EACH_EPOCH, **(SHORT if STEPS else {})}
    config = {name: str((folder / rows[name]['config']).resolve()) for name in names}
    return {name: {**rows['*'], **rows[name], **changes, 'config': config[name]} for name in names}


def run(*command: object, end: float) -> None:
    """Run a tool of the repository until that time at most. What fails is told, and does not stop the job."""
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=environment())
    try:
        process.wait(max(1, end - time.time()))
    except subprocess.TimeoutExpired:
        print(f'the time is over for {command[:2]}', flush=True)
        process.terminate()
        process.wait()


def benchmark(work: Path, rows: Dict[str, dict], seeds: List[int], end: float, *more: object) -> None:
    """Train and measure rows, all side by side."""
    work.mkdir(parents=True, exist_ok=True)
    (work / 'rows.json').write_text(json.dumps(rows, indent=1))
    options = ['--seeds', *seeds, '--jobs', len(rows) * len(seeds) if HAS_GPU else 1]
    run('tools/benchmark', '--rows', work / 'rows.json', '--work-dir', work, *options, *more, end=end)


def measure_detectors(trained: Path, work: Path, rows: Dict[str, dict], seeds: List[int], end: float) -> None:
    """Measure the checkpoints of finished trainings with objectness in the score, and their RPNs alone."""
    measured, checkpoints = {}, []
    for (name, row), seed, (kind, change) in itertools.product(rows.items(), seeds, MEASURED.items()):
        folder = trained / name / f'seed{seed}'
        if (folder / 'result.json').exists():
            measured[f'{name}-{seed}-{kind}'] = {**row, **change}
            checkpoints.append((folder / 'last_checkpoint').read_text().strip())
    if measured:
        benchmark(work, measured, [0], end, '--checkpoints', *checkpoints)


def time_steps(work: Path, end: float) -> None:
    work.mkdir(parents=True, exist_ok=True)
    run('-m', 'pytest', '-n', 0, '-q', 'tests/models/test_on_a_gpu.py', end=end)
    options = ['--batch', 8, '--rounds', 10, '--amp']
    if STEPS:
        options = ['--batch', 1, '--rounds', STEPS, '--size', 96, 160, *(['--amp'] if HAS_GPU else [])]
    for name, configs in TIMED.items():
        run('lab/scripts/benchmark_step.py', *configs, *options, '--out', work / f'{name}.json', end=end)


def perform(args: argparse.Namespace, work: Path) -> None:
    end = time.time() + args.limit
    if args.job == 'times':
        time_steps(work, end)
        return
    rows = rows_of(JOBS[args.job].file, args.rows)
    benchmark(work / 'trained', rows, args.seeds, end)
    if args.job == 'detectors':
        measure_detectors(work / 'trained', work / 'measured', rows, args.seeds, end)


def keep(work: Path, out: Path) -> None:
    """All but the checkpoints, in one file: of many small ones few come back."""
    with tarfile.open(out, 'w:gz') as tar:
        for path in sorted(work.rglob('*')):
            if path.is_file() and path.suffix != '.pth':
                tar.add(path, path.relative_to(work))
    print(f'Results: {out}', flush=True)


def control_mps(command: str) -> None:
    """Without it trainings wait for each other."""
    if HAS_GPU and shutil.which('nvidia-cuda-mps-control'):
        (PLACE / 'mps').mkdir(parents=True, exist_ok=True)
        start = ['-d'] if command == 'start' else []
        subprocess.run(['nvidia-cuda-mps-control', *start], input=command, text=True, env=environment())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('job', choices=['unpack', *JOBS])
    parser.add_argument('--rows', nargs='+', help='names of rows; default: all of the job')
    parser.add_argument('--seeds', type=int, nargs='+', help='default: those of the job')
    parser.add_argument('--limit', type=float, default=570, help='seconds (default: %(default)s)')
    args = parser.parse_args()
    if args.job == 'unpack':
        unpack()
        return
    job = JOBS[args.job]
    args.rows, args.seeds = args.rows or job.rows, args.seeds or job.seeds
    last = time.strftime('%H:%M:%S', time.localtime(time.time() + args.limit))
    print(f'{args.job}: about {job.minutes} minutes on an H200 by its defaults; over at {last}', flush=True)
    out = Path(os.environ.get('OUT', ROOT / 'work_dirs' / 'gpu'))
    work = (PLACE if HAS_GPU else out) / args.job
    out.mkdir(parents=True, exist_ok=True)
    if args.job != 'times':
        control_mps('start')
    try:
        perform(args, work)
    finally:
        keep(work, out / f'{args.job}.tar.gz')
        control_mps('quit -t 5')


if __name__ == '__main__':
    main()
