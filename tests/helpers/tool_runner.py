"""Run a Python tool as a process of its own that need not import torch and MMDetection: it is forked from a server that
has them (preloaded.py).
"""

import os
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import get_context, set_start_method
from pathlib import Path
from unittest import mock

SERVER = get_context('forkserver')
SERVER.set_forkserver_preload(['preloaded'])
# where the server finds preloaded.py, and that what it takes in
PATHS = dict(PYTHONPATH=os.pathsep.join(map(str, [Path(__file__).parent, Path(__file__).parents[2] / 'tools'])))


def run(args: list, cwd: Path, env: dict, timeout: float) -> subprocess.CompletedProcess:
    """As ``subprocess.run([sys.executable, *args], capture_output=True, text=True, ...)`` does it."""
    args = [str(arg) for arg in args]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ('stdout', 'stderr')]
        process = SERVER.Process(target=_work, args=(args, str(cwd), dict(env), outputs))
        with mock.patch.dict(os.environ, PATHS):  # the first one starts the server
            process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(args, timeout)
        return subprocess.CompletedProcess(args, process.exitcode, *(path.read_text() for path in outputs))


def _work(args: list, cwd: str, env: dict, outputs: list) -> None:
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    set_start_method('fork', force=True)  # for workers that load data, as in a fresh interpreter
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv, sys.path[0] = args, str(Path(args[0]).absolute().parent)
    sys.path[1:1] = filter(None, env.get('PYTHONPATH', '').split(os.pathsep))
    runpy.run_path(args[0], run_name='__main__')
