import ast
import pickle
import tarfile

import pytest
import torch

from mmdet_nrpn.utils import read_checkpoint

LOADERS = ('load', 'load_checkpoint', 'loads', 'Unpickler')


def test_nothing_of_ours_loads_pickles(repo):
    """One torch.load has weights_only=True, one a restricted pickle; there is no other loader, eval or exec."""
    found = []
    for path in [*(repo / 'mmdet_nrpn').rglob('*.py'), *(repo / 'tools').rglob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name in ('eval', 'exec') or (
                name.split('.')[-1] in LOADERS and not name.startswith(('json.', 'yaml.safe'))
            ):
                found.append(f'{path.name}: {ast.unparse(node)}')
    assert [call for call in sorted(found) if 'np.load(' not in call] == [
        "checkpoints.py: torch.load(path, map_location='cpu', weights_only=True)",
        'named_pickle.py: Unpickler(file, **options)',
        'named_pickle.py: Unpickler(file, **options).load()',
        "named_pickle.py: torch.load(path, map_location='cpu', pickle_module=restricted, weights_only=False)",
    ]
    assert not any('allow_pickle' in call for call in found)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), 'w'))


def save_tar(value, path):
    """As torch before 0.1.10 did; it unpickles the first member."""
    (path.parent / 'storages').write_bytes(pickle.dumps(value))
    with tarfile.open(path, 'w') as tar:
        tar.add(path.parent / 'storages', 'storages')


def save_script(value, path):
    torch.jit.save(torch.jit.script(torch.nn.Identity()), path)


def save_old(value, path):
    torch.save(value, path, _use_new_zipfile_serialization=False)


def save_pickle(value, path):
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize('save', [torch.save, save_old, save_pickle, save_tar, save_script])
def test_reading_a_checkpoint_executes_nothing(tmp_path, save, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')  # as users of MMEngine 0.10.7 on torch 2.6 have it
    save(dict(state_dict=dict(weight=torch.zeros(1)), meta=Evil(tmp_path / 'executed')), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='evil.pth cannot be read as a checkpoint of weights alone'):
        read_checkpoint(tmp_path / 'evil.pth')
    assert not (tmp_path / 'executed').exists()


def test_strip_executes_nothing(run_tool, tmp_path):
    torch.save(
        dict(state_dict={'nrpn_head.a': torch.zeros(1)}, meta=Evil(tmp_path / 'executed')), tmp_path / 'evil.pth'
    )
    done = run_tool('tools/fold/strip.py', tmp_path / 'evil.pth', tmp_path / 'out', TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1)
    assert done.returncode != 0 and not (tmp_path / 'executed').exists()
