import ast
import pickle

import pytest
import torch

from mmdet_nrpn.utils import read_checkpoint

LOADERS = ('load', 'load_checkpoint', 'loads', 'Unpickler')


def test_nothing_of_ours_loads_pickles(repo):
    """Every torch.load says weights_only=True, and there is no other loader, eval or exec."""
    loads = 0
    for path in [*(repo / 'mmdet_nrpn').rglob('*.py'), *(repo / 'tools').rglob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if (
                name.split('.')[-1] not in LOADERS
                or name.startswith(('json.', 'yaml.safe'))
                or name.endswith('model.eval')
            ):
                continue
            safe = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name == 'torch.load':
                assert safe.get('weights_only') == 'True', f'{path}:{node.lineno}'
                loads += 1
            else:
                assert name == 'np.load' and safe.get('allow_pickle', 'False') == 'False', (
                    f'{path}:{node.lineno} {name}'
                )
    assert loads >= 1


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), 'w'))


@pytest.mark.parametrize('how', [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_reading_a_checkpoint_executes_nothing(tmp_path, how, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')  # as users of OpenMMLab's stack have it
    how(dict(state_dict=dict(weight=torch.zeros(1)), meta=Evil(tmp_path / 'executed')), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='evil.pth cannot be read as a checkpoint of weights alone'):
        read_checkpoint(tmp_path / 'evil.pth')
    assert not (tmp_path / 'executed').exists()


def test_strip_executes_nothing(run_tool, tmp_path):
    torch.save(
        dict(state_dict={'nrpn_head.a': torch.zeros(1)}, meta=Evil(tmp_path / 'executed')), tmp_path / 'evil.pth'
    )
    done = run_tool('tools/fold/strip.py', tmp_path / 'evil.pth', tmp_path / 'out', TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1)
    assert done.returncode != 0 and not (tmp_path / 'executed').exists()
