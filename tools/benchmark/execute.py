"""Train and measure one run that tools/benchmark has prepared; the command that its --list prints.

    python tools/benchmark/execute.py WORK_DIR/NAME/seed0.py

Goes on from the last checkpoint. All that is printed is in WORK_DIR/NAME/seed0.log, too.
"""

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Iterator


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Keep other processes off a run's folder; the lock's file descriptor does so wherever it is open."""
    with open(folder.with_suffix('.lock'), 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f'{folder} is being run by another process; let it end, or end it') from None
        yield lock.fileno()


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Write what this process and those that it starts print to a file as well."""
    tee = subprocess.Popen(['tee', '-i', '-a', path], stdin=subprocess.PIPE)
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(tee.stdin.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        for number, old in zip((1, 2), kept):
            os.dup2(old, number)
        tee.stdin.close()
        tee.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='as tools/benchmark wrote it')
    config = parser.parse_args().config.resolve()
    folder = config.with_suffix('')
    if (folder / 'result.json').exists():
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated; the same command goes on from here'))
    folder.mkdir(exist_ok=True)
    # with the tools' folder in the place of this one and of the current one
    command = [sys.executable, '-P', '-m', 'benchmark.train_and_measure', config]
    paths = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get('PYTHONPATH')])]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    with locked(folder) as lock, logged(config.with_suffix('.log')):
        # a process of its own holds the lock for as long as it lives, also when this one was killed
        status = subprocess.run(command, env=env, pass_fds=[lock]).returncode
        if status < 0:
            print(f'ended by signal {-status}', file=sys.stderr, flush=True)
    sys.exit(abs(status))


if __name__ == '__main__':
    main()
