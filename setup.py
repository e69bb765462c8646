"""Only what setup.cfg cannot say: an installed package carries configs, tools and model index where mim looks."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithModelZoo(build_py):
    """Copies them to ``mmdet_nrpn/.mim``, as MMDetection's own build does; an editable install keeps the repository."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib) / 'mmdet_nrpn' / '.mim'
        shutil.rmtree(mim, ignore_errors=True)
        for folder in ('configs', 'tools'):
            shutil.copytree(folder, mim / folder, ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copy('model-index.yml', mim)


setup(cmdclass=dict(build_py=BuildWithModelZoo))
