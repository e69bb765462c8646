"""Every documented command has a tool that is there, and arguments that the tool's own parser takes.

Whether the commands do what the docs say: test_commands.py.
"""

import argparse
import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
DOCUMENTS = [
    REPO / 'README.md',
    REPO / 'CONTRIBUTING.md',
    REPO / 'configs' / 'nrpn' / 'README.md',
    *sorted((REPO / 'docs').rglob('*.md')),
]
BLOCK = re.compile(r'^```bash\n(.*?)^```', re.S | re.M)
TABLE_COMMAND = re.compile(r'^- command: `(.*)`$', re.M)  # what made a table of results: a record, not an instruction
HERE_DOCUMENT = re.compile(r"<<'(\w+)'\n.*?^\1$", re.S | re.M)
ASSIGNMENTS = re.compile(r'^\s*(?:[A-Z_0-9]+=\S*\s+)*')
REDIRECTION = re.compile(r'\s[<>]\s*\S+')  # printf would write the file
TOOL = re.compile(r'(?<![\w/.])(?:tools|\.dev_scripts)/[\w/]+\.(?:py|sh)')
# of the system, of pip, of a cluster or of the shell
OTHERS = {
    '.',
    'cat',
    'cd',
    'cp',
    'head',
    'ls',
    'mkdir',
    'parallel',
    'pip',
    'pre-commit',
    'sbatch',
    'sed',
    'tail',
    'test',
    'unzip',
}


class Parsed(Exception):
    """Raised where a tool has parsed its arguments; holds those that it hands on to another tool."""


def command_lines():
    for document in DOCUMENTS:
        for block in BLOCK.findall(document.read_text()):
            for line in HERE_DOCUMENT.sub('', block).replace('\\\n', ' ').splitlines():
                for command in re.split(r'\s&&\s|;\s', line.split(' #')[0]):
                    if command.strip() and not command.startswith('#'):
                        yield pytest.param(command, id=f'{document.name}: {command[:60]}')


def words(command):
    """The command's words as bash hands them over."""
    script = f"printf '%s\\n' {REDIRECTION.sub('', command)}"
    done = subprocess.run(['bash', '-c', script], cwd=REPO, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def parse(monkeypatch, capfd):
    """Start a Python tool; stop it as soon as its parser has taken the arguments."""

    def parse(tool, arguments):
        parse_args, parse_known_args = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args

        def all_known(self, args=None, namespace=None):
            with monkeypatch.context() as inner:
                inner.setattr(argparse.ArgumentParser, 'parse_known_args', parse_known_args)
                parse_args(self, args, namespace)
            raise Parsed([])

        def some_known(self, args=None, namespace=None):
            raise Parsed(parse_known_args(self, args, namespace)[1])

        with monkeypatch.context() as patch:
            patch.setattr(argparse.ArgumentParser, 'parse_args', all_known)
            patch.setattr(argparse.ArgumentParser, 'parse_known_args', some_known)
            patch.setattr(sys, 'argv', [str(tool), *arguments])
            patch.setattr('arguments.existing_file', Path)  # written by the commands before
            patch.setattr(sys, 'path', [str(tool.parent), *sys.path])
            patch.chdir(REPO)
            with pytest.raises(Parsed) as parsed:
                try:
                    runpy.run_path(str(tool), run_name='__main__')
                except SystemExit as error:
                    pytest.fail(f'{tool.name} {" ".join(arguments)}: {error}; {capfd.readouterr().err[-500:]}')
            return parsed.value.args[0]

    return parse


def check_python(arguments, parse):
    if arguments[0] == '-m':
        assert importlib.util.find_spec(arguments[1])
        return
    if arguments[0] == '-c':
        compile(arguments[1], '-c', 'exec')
        return
    tool = REPO / arguments[0]
    assert tool.is_file() or (tool / '__main__.py').is_file(), f'{arguments[0]} is not there'
    parse(tool, arguments[1:])
    for argument in arguments[1:]:
        # a reader's own files, such as rpn_mine.py, are written by the commands before
        if argument.startswith(('configs/', 'docs/results/')) and '_mine' not in argument:
            assert (REPO / argument).exists(), f'{argument} is not there'


def check_mim(arguments):
    cli = pytest.importorskip('mim.cli').cli
    name, *rest = arguments
    context = cli.make_context('mim', [name], resilient_parsing=True)
    command = cli.get_command(context, name)
    assert command is not None, f'mim has no {name}'
    command.make_context(name, rest)


@pytest.mark.parametrize('command', command_lines())
def test_is_one_that_the_tool_takes(command, parse):
    command = ASSIGNMENTS.sub('', command)
    program = command.split()[0]
    if program in OTHERS:
        return
    arguments = words(command)[1:]
    if program == 'python':
        check_python(arguments, parse)
    elif program == 'mim':
        check_mim(arguments)
    elif program == 'make':
        make = {**os.environ, 'MAKEFLAGS': ''}
        done = subprocess.run(['make', '-n', *arguments], cwd=REPO, env=make, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        assert (REPO / program).is_file(), f'{program} is not known'


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(REPO)))
def test_tools_that_are_named_are_there(document):
    text = TABLE_COMMAND.sub('', document.read_text())
    for tool in {*TOOL.findall(text)}:
        assert (REPO / tool).is_file(), f'{document.name} names {tool}, which is not there'
