import runpy

import pytest
import torch


@pytest.fixture
def spell_out(repo):
    return runpy.run_path(str(repo / 'tools' / 'train.py'))['name_the_checkpoint_to_resume']


@pytest.mark.parametrize('resume', [['--resume'], ['--resume', 'auto']])
def test_resume_names_the_newest_whole_checkpoint(spell_out, tmp_path, resume):
    torch.save({}, tmp_path / 'iter_9.pth')
    torch.save({}, tmp_path / 'iter_10.pth')
    before = ['--launcher', 'pytorch', 'config.py', '--work-dir', str(tmp_path)]
    after = ['--cfg-options', 'a=1', 'b=2']
    named = spell_out([*before, *resume, *after])
    assert named == [*before, *after, '--resume', str(tmp_path / 'iter_10.pth')]
    (tmp_path / 'iter_10.pth').write_bytes(b'')
    with pytest.warns(UserWarning, match='iter_10.pth'):
        assert spell_out([*before, *resume])[-1] == str(tmp_path / 'iter_9.pth')


def test_without_resume_or_with_a_checkpoint_it_changes_nothing(spell_out, tmp_path):
    torch.save({}, tmp_path / 'iter_9.pth')
    for argv in (['config.py', '--work-dir', str(tmp_path)], ['config.py', '--resume', 'mine.pth'], ['--help']):
        assert spell_out(argv) == argv


def test_without_a_work_dir_it_looks_where_mmdetection_would_write(spell_out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'plain.py').write_text('')
    (tmp_path / 'own.py').write_text("work_dir = 'elsewhere'")
    for folder in ('work_dirs/plain', 'elsewhere'):
        (tmp_path / folder).mkdir(parents=True)
        torch.save({}, tmp_path / folder / 'epoch_1.pth')
    assert spell_out(['plain.py', '--resume'])[-1] == 'work_dirs/plain/epoch_1.pth'
    assert spell_out(['own.py', '--resume'])[-1] == 'elsewhere/epoch_1.pth'
    assert spell_out(['plain.py', '--resume', '--work-dir', 'nothing'])[-3:] == ['--resume', '--work-dir', 'nothing']
