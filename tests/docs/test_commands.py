"""Every command in the docs is run: here, as it is written, in a copy of the repository whose trainings are cut to two
steps; or by the test that is named here.
"""

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tool_runner
import torch
from mmdet.models import ResNet

pytestmark = pytest.mark.slow
BLOCK = re.compile(r'^```bash\n(.*?)^```', re.S | re.M)
# what takes long, or needs what is not here: real images, a registry, a GPU
ELSEWHERE = {
    'make test': '.ci/run',
    'pip install -e .': '.dev_scripts/setup_env.sh',
    'VOC_ROOT=/data/VOCdevkit/ make results': 'tests/docs/test_site.py',
    'VOC_ROOT=': 'tests/test_real.py',
    "pip install -e '.[photo]'": 'tests/test_photo.py',
    'python -m mmdet_nrpn photo.jpg': 'tests/test_photo.py',
    'mim train onedl-mmdetection configs/nrpn/nrpn-focal_r50': 'tests/packaging/test_mim.py',
    'mim test': 'tests/packaging/test_mim.py',
    'mim gridsearch': 'tests/packaging/test_mim.py',
    # these with a reader's own configs; `make demo` and get_started.md run it as well
    'python tools/benchmark --rows': 'tests/tools/test_rows.py',
    'python tools/benchmark rpn_mine': 'tests/tools/test_benchmark.py',
    'python tools/analysis_tools/sweep_objectness.py': 'tests/tools/test_sweep_objectness.py',
    'pip install --no-deps trackeval': 'requirements/dev.txt',
    'sbatch --array': 'tests/tools/test_benchmark.py',
}
WALKED = ('get_started.md', 'guide.md', 'inspect.md')  # beside README.md
# file: what is cut in it
CUTS = {
    'configs/nrpn/_base_/schedules/schedule_demo.py': [('= 500', '= 2'), ('20', '1'), ('interval=50', 'interval=1')],
    'configs/nrpn/_base_/schedules/schedule_short.py': [('= 200', '= 2'), ('20', '1')],
    'configs/nrpn/rpn_r18_fpn_short_own-voc.py': [('(320, 320)', '(96, 96)')],
    'tools/dataset_converters/make_shapes.py': [
        ('default=600', 'default=12'),
        ('default=150', 'default=4'),
        ('default=256', 'default=96'),
    ],
    'tools/fold/fit.py': [('default=200', 'default=2')],
    'Makefile': [('iter_500', 'iter_2')],
}
# in the commands, what follows from it, and fewer seeds
CHANGED = {'iter_500': 'iter_2', 'iter_450': 'iter_1', 'iter_200': 'iter_2', '0 1 2': '0'}


def documents(repo):
    return [
        repo / 'README.md',
        repo / 'configs' / 'nrpn' / 'README.md',
        *sorted((repo / 'docs').glob('*.md')),
    ]


def commands(path):
    """The logical lines of a document's blocks, without those that are run elsewhere."""
    lines = '\n'.join(BLOCK.findall(path.read_text())).replace('\\\n', ' ').splitlines()
    return [line for line in lines if not line.startswith(tuple(ELSEWHERE))]


def bare(lines):
    return {' '.join(line.split('#')[0].split()) for line in lines} - {''}


def test_the_others_are_run_elsewhere(repo):
    text = '\n'.join(path.read_text() for path in documents(repo))
    for start, test in ELSEWHERE.items():
        assert start in text, f'{start} is in no document any more'
        tool = re.search(r'tools/(?:\w+/)*(\w+)', start)
        assert not tool or tool[1] in (repo / test).read_text()
    walked = set(bare(commands(repo / 'README.md'))).union(*(bare(commands(repo / 'docs' / name)) for name in WALKED))
    for path in documents(repo):
        assert set(bare(commands(path))) <= walked, path


@pytest.fixture
def walk(repo, tmp_path, mmdet_package):
    """Run lines in the copy, as somebody with an environment in .venv would.

    ``make`` starts fresh interpreters, and the benchmark does. Tools that a line names are forked from one that has
    torch.
    """
    copy = tmp_path / 'copy'
    listed = subprocess.check_output(['git', 'ls-files', '-co', '--exclude-standard'], cwd=repo, text=True)
    for name in listed.splitlines():
        if (repo / name).is_file() and not name.startswith('docs/results'):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((repo / name).read_bytes())
            (copy / name).chmod((repo / name).stat().st_mode)
    for name, cuts in CUTS.items():
        text = (copy / name).read_text()
        for old, new in cuts:
            assert old in text, f'{old} is not in {name}'
            text = text.replace(old, new)
        (copy / name).write_text(text)
    (copy / '.venv').mkdir()
    for entry in Path(sys.prefix).iterdir():
        (copy / '.venv' / entry.name).symlink_to(entry)
    (copy / '.venv' / '.ready').unlink(missing_ok=True)
    (copy / '.venv' / '.ready').touch()

    env = {**os.environ, 'PYTHONPATH': str(copy), 'TORCH_HOME': str(tmp_path / 'torch')}
    env.pop('SHAPES_ROOT', None)

    def in_bash(script):
        return subprocess.run(['bash', '-exc', script], cwd=copy, env=env, capture_output=True, text=True, timeout=400)

    def forked(line):
        return tool_runner.run(shlex.split(line, comments=True)[1:], cwd=copy, env=env, timeout=400)

    def run(lines):
        script = '\n'.join(lines)
        for old, new in {**CHANGED, 'onedl-mmdetection': mmdet_package}.items():
            script = script.replace(old, new)
        said = ''
        for is_tool, group in itertools.groupby(script.splitlines(), key=lambda line: line.startswith('python ')):
            for done in map(forked, group) if is_tool else [in_bash('\n'.join(group))]:
                assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
                said += done.stdout
        return said

    run.copy = copy
    return run


def test_readme(repo, walk):
    said = walk(commands(repo / 'README.md'))
    assert 'nrpn-focal, difference' in said and '2 runs to go' in said
    for line in said.splitlines():
        # make demo's last words
        if line.startswith(('All numbers:  ', 'Recall curves', 'The images where', 'nRPN folded')):
            for file in re.findall(r'work_dirs/[\w/.-]+', line):
                assert (walk.copy / file).stat().st_size > 0


@pytest.fixture
def imagenet_weights(tmp_path):
    """Where MMEngine would have downloaded MMPretrain's ResNet-18 to."""
    folder = tmp_path / 'torch' / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    state = {f'backbone.{key}': value for key, value in ResNet(18).state_dict().items()}
    torch.save(dict(state_dict=state, meta={}), folder / 'resnet18_8xb32_in1k_20210831-fbbb1da6.pth')


def test_own_data_in_vocs_format_and_publishing(repo, walk, imagenet_weights):
    lines = [line for name in ('get_started', 'guide') for line in commands(repo / 'docs' / f'{name}.md')]
    said = walk(lines)
    assert 'nrpn-focal, difference' in said
    page = walk.copy / 'work_dirs' / 'mine' / 'page.html'
    assert page.read_text().count('data:image/jpeg') == 4
    # stripped, and folded
    assert len([*(walk.copy / 'published').glob('iter_2-*.pth')]) == 2
    assert (walk.copy / 'work_dirs' / 'fold.png').exists() and (walk.copy / 'work_dirs' / 'fold.json').exists()
    # fitted to the stock RPN, and folded
    assert (walk.copy / 'work_dirs' / 'fit' / 'fold.png').exists()
    assert len([*(walk.copy / 'work_dirs' / 'fit' / 'published').glob('fitted-*.pth')]) == 1


def test_own_data_in_cocos_format(repo, walk, imagenet_weights):
    lines = commands(repo / 'docs' / 'get_started.md')
    check = next(number for number, line in enumerate(lines) if 'check_config.py' in line)
    drawing = next(number for number, line in enumerate(lines) if 'make_shapes.py' in line)
    as_coco = f'python {repo}/tests/helpers/as_coco.py data/mine'
    lines = [*lines[: drawing + 1], as_coco, *lines[drawing + 1 : check + 1]]
    said = walk([line.replace('own-voc', 'own-coco') for line in lines])
    assert 'nothing wrong was found' in said


def test_inspecting(repo, walk):
    walk([line.replace('interval=100', 'interval=1') for line in commands(repo / 'docs' / 'inspect.md')])
    seen = walk.copy / 'work_dirs' / 'seen'
    assert len([*seen.glob('*/vis_data/vis_image/hard_negatives_*.png')]) == 2
    assert (seen / 'page.html').exists() and (seen / 'compared.html').exists()
