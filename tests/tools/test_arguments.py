"""What tools refuse before they read or write anything: missing files, places to write, and numbers without sense."""

import pytest

CONFIG = 'configs/nrpn/nrpn-focal_r18-w16_fpn_demo_shapes.py'
COUNT = 'tools/analysis_tools/count_positives.py'
READ_FILES = [
    (COUNT, ['nowhere']),
    ('tools/analysis_tools/browse_hard_negatives.py', ['nowhere', __file__]),
    ('tools/analysis_tools/browse_hard_negatives.py', [CONFIG, 'nowhere']),
    ('tools/analysis_tools/browse_hard_negatives.py', [CONFIG, __file__, '--baseline', CONFIG, 'nowhere']),
    ('tools/fold/sweep.py', ['nowhere', __file__]),
    ('tools/fold/sweep.py', [CONFIG, 'nowhere']),
    ('tools/analysis_tools/sweep_objectness.py', [CONFIG, 'nowhere']),
    ('tools/benchmark', [CONFIG, 'nowhere', '--dry-run']),
    ('tools/benchmark', [CONFIG, '--checkpoints', 'nowhere', '--dry-run']),
    ('tools/fold/fit.py', ['nowhere', __file__, '--out', 'new.pth']),
    ('tools/fold/fit.py', [CONFIG, 'nowhere', '--out', 'new.pth']),
    ('tools/benchmark', ['--rows', 'nowhere']),
    ('tools/check_config.py', [CONFIG, 'nowhere']),
    ('tools/fold/strip.py', ['nowhere', 'new']),
]
COUNTS = [
    (COUNT, [CONFIG], '--num-images', 1),
    ('tools/analysis_tools/browse_hard_negatives.py', [CONFIG, __file__], '--images', 1),
    ('tools/benchmark', [CONFIG, '--dry-run'], '--jobs', 1),
    ('tools/benchmark', [CONFIG, '--dry-run'], '--seeds', 0),
    ('tools/fold/fit.py', [CONFIG, __file__, '--out', 'new.pth'], '--iters', 1),
]


@pytest.mark.parametrize(('tool', 'arguments'), READ_FILES)
def test_a_missing_file_or_a_folder_is_named(run_tool, tmp_path, tool, arguments):
    for path, what in ((tmp_path / 'nowhere', 'is not there'), (tmp_path, 'is no file')):
        done = run_tool(tool, *(path if argument == 'nowhere' else argument for argument in arguments))
        assert done.returncode == 2 and f'{path} {what}' in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.parametrize(('tool', 'arguments', 'option', 'least'), COUNTS)
def test_a_number_that_is_too_small_is_named(run_tool, tool, arguments, option, least):
    done = run_tool(tool, *arguments, option, least - 1)
    assert done.returncode == 2 and f'{option}: must be {least} or more, got {least - 1}' in done.stderr


PAGE, SWEEP = ['tools/analysis_tools/browse_hard_negatives.py', CONFIG, 'file'], ['tools/fold/sweep.py', CONFIG, 'file']
SWEEP_OBJECTNESS = ['tools/analysis_tools/sweep_objectness.py', CONFIG, 'file']
STRIP, FIT, BENCHMARK = ['tools/fold/strip.py', 'file'], ['tools/fold/fit.py', CONFIG, 'file'], ['tools/benchmark']
NO_FACTOR, NO_ROWS = 'must be a finite number >= 0', 'name configs, or a file of rows with --rows'


# file, there.pth, config.py and folder.pth are there
@pytest.mark.parametrize(
    ('command', 'said'),
    [
        ([*STRIP, 'file'], 'name a folder'),
        *(([*STRIP, 'new', f'--fold={value}'], '--fold') for value in ('-1', 'nan', 'inf', 'half')),
        *(([*SWEEP, '--folds', *folds], f'--folds: {NO_FACTOR}') for folds in (['nan'], ['0', '-1'], ['inf'])),
        *(([*SWEEP, '--out', out], '--out') for out in ('.', 'fold', 'fold.json', 'file/fold.png')),
        ([*SWEEP_OBJECTNESS, '--weights', '-1'], f'--weights: {NO_FACTOR}'),
        ([*SWEEP_OBJECTNESS, '--out', 'fold.csv'], '--out'),
        *(([*PAGE, '--out', out], '--out must name a file, no folder, in a') for out in ('.', 'file/page.html')),
        *(([*FIT, '--out', out], 'name a file in a folder') for out in ('folder.pth', 'file/fitted.pth')),
        ([*FIT, '--out', 'fitted.pt'], 'ending in .pth'),
        ([*FIT, '--out', 'there.pth'], 'there.pth is there already'),
        ([*FIT, '--out', 'config.pth'], 'config.py is there already'),
        ([*BENCHMARK, CONFIG, '--table', '--work-dir', 'nowhere'], 'nowhere is not there'),
        ([*BENCHMARK, CONFIG, '--work-dir', 'file'], 'file is a file'),
        (BENCHMARK, NO_ROWS),
        ([*BENCHMARK, CONFIG, '--rows', CONFIG], NO_ROWS),
        ([*BENCHMARK, CONFIG, '--seeds', 0, 0], '--seeds 0 0 names a seed twice'),
    ],
)
def test_what_cannot_be_done_is_refused(run_tool, tmp_path, command, said):
    for name in ('file', 'there.pth', 'config.py'):
        (tmp_path / name).touch()
    (tmp_path / 'folder.pth').mkdir()
    before, options = sorted(tmp_path.rglob('*')), ('--out', '--work-dir')
    places = [n for n, word in enumerate(command) if word == 'file' or command[n - 1] in options]
    places += [2] if command[0] == STRIP[0] else []
    done = run_tool(*(tmp_path / word if n in places else word for n, word in enumerate(command)))
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert sorted(tmp_path.rglob('*')) == before
