"""What tools refuse before they read or write anything: missing files, places to write, and numbers without sense."""

import pytest

CONFIG = 'configs/nrpn/nrpn-focal_r18-w16_fpn_demo_shapes.py'
PAGE, SWEEP, OBJECTNESS, FIT, STRIP, BENCHMARK, SHAPES = (
    ['tools/analysis_tools/browse_hard_negatives.py'],
    ['tools/fold/sweep.py'],
    ['tools/analysis_tools/sweep_objectness.py'],
    ['tools/fold/fit.py'],
    ['tools/fold/strip.py'],
    ['tools/benchmark'],
    ['tools/dataset_converters/make_shapes.py', 'new'],
)
# each with 'nowhere' in the place of a file that it reads
READ_FILES = [
    *([*tool, *files] for tool in (PAGE, SWEEP, OBJECTNESS) for files in (['nowhere', __file__], [CONFIG, 'nowhere'])),
    [*PAGE, CONFIG, __file__, '--baseline', CONFIG, 'nowhere'],
    *([*FIT, *files, '--out', 'new.pth'] for files in (['nowhere', __file__], [CONFIG, 'nowhere'])),
    [*STRIP, 'nowhere', 'new'],
    [*BENCHMARK, CONFIG, 'nowhere', '--dry-run'],
    [*BENCHMARK, CONFIG, '--checkpoints', 'nowhere', '--dry-run'],
    [*BENCHMARK, '--rows', 'nowhere'],
    ['tools/check_config.py', CONFIG, 'nowhere'],
]


@pytest.mark.parametrize('command', READ_FILES, ids=' '.join)
def test_a_missing_file_or_a_folder_is_named(run_tool, tmp_path, command):
    for path, what in ((tmp_path / 'nowhere', 'is not there'), (tmp_path, 'is no file')):
        done = run_tool(*(path if word == 'nowhere' else word for word in command))
        assert done.returncode == 2 and f'{path} {what}' in done.stderr and 'Traceback' not in done.stderr


NUMBERS = [
    ([*SWEEP, CONFIG, 'file', '--folds'], 0, (-1, 'nan', 'inf')),
    ([*OBJECTNESS, CONFIG, 'file', '--weights'], 0, (-1,)),
    ([*FIT, CONFIG, 'file', '--out', 'new.pth', '--iters'], 1, (0,)),
    ([*STRIP, 'file', 'new', '--fold'], 0, (-1, 'nan', 'inf')),
    ([*BENCHMARK, CONFIG, '--dry-run', '--jobs'], 1, (0,)),
    ([*BENCHMARK, CONFIG, '--dry-run', '--seeds', 1], 0, (-1,)),
    *(([*SHAPES, option], 1, (0, -5)) for option in ('--train', '--val')),
    *(([*SHAPES, option], 0, (-1,)) for option in ('--lookalikes', '--seed')),
    ([*SHAPES, '--size'], 32, (8,)),
]
PLACE = 'name a file in a folder, ending in'
NO_ROWS = 'name configs, or a file of rows with --rows'


# file, there.pth, config.py and folder.pth are there
@pytest.mark.parametrize(
    ('command', 'said'),
    [
        *(([*words, value], f'must be {least} or more, got {value}') for words, least, bad in NUMBERS for value in bad),
        ([*STRIP, 'file', 'new', '--fold', 'half'], '--fold: invalid'),
        ([*STRIP, 'file', 'file'], 'file is a file; name a folder'),
        *(([*SWEEP, CONFIG, 'file', '--out', out], PLACE) for out in ('.', 'fold', 'fold.json', 'file/fold.png')),
        ([*OBJECTNESS, CONFIG, 'file', '--out', 'numbers.csv'], PLACE),
        *(([*PAGE, CONFIG, 'file', '--out', out], PLACE) for out in ('.', 'file/page.html')),
        *(([*FIT, CONFIG, 'file', '--out', out], PLACE) for out in ('folder.pth', 'file/fitted.pth', 'fitted.pt')),
        ([*FIT, CONFIG, 'file', '--out', 'there.pth'], 'there.pth is there already'),
        ([*FIT, CONFIG, 'file', '--out', 'config.pth'], 'config.py is there already'),
        ([*BENCHMARK, CONFIG, '--table', '--work-dir', 'nowhere'], 'nowhere is not there'),
        ([*BENCHMARK, CONFIG, '--work-dir', 'file'], 'file is a file; name a folder'),
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
    is_place = [word in ('file', 'new') or before in options for before, word in zip(['', *command], command)]
    done = run_tool(*(tmp_path / word if here else word for here, word in zip(is_place, command)))
    assert done.returncode == 2 and said in done.stderr and 'Traceback' not in done.stderr, done.stderr
    assert sorted(tmp_path.rglob('*')) == before
