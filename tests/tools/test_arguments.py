"""What tools refuse before they read or write anything: files that are not there, and numbers that make no sense."""

import pytest

CONFIG = 'configs/nrpn/nrpn-focal_r18-w16_fpn_demo_shapes.py'
COUNT = 'tools/analysis_tools/count_positives.py'
READ_FILES = [
    (COUNT, ['nowhere']),
    ('tools/analysis_tools/browse_hard_negatives.py', ['nowhere', __file__]),
    ('tools/analysis_tools/browse_hard_negatives.py', [CONFIG, 'nowhere']),
    ('tools/analysis_tools/browse_hard_negatives.py', [CONFIG, __file__, '--baseline', CONFIG, 'nowhere']),
    ('tools/analysis_tools/ignore_false_positives.py', ['nowhere', __file__, 'new.json']),
    ('tools/analysis_tools/ignore_false_positives.py', [CONFIG, 'nowhere', 'new.json']),
    ('tools/fold/sweep.py', ['nowhere', __file__]),
    ('tools/fold/sweep.py', [CONFIG, 'nowhere']),
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
    ('tools/analysis_tools/ignore_false_positives.py', [CONFIG, __file__, 'new.json'], '--per-image', 1),
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
