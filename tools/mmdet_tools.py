import functools
import runpy
from pathlib import Path

import mmdet
from mmengine.config import config
from mmengine.config import utils as config_utils
from yapf.yapflib import yapf_api


def run_mmdet_tool(name: str) -> None:
    """Run one of MMDetection's command line tools, such as 'train.py', in this process and with its arguments.

    An installed MMDetection holds its tools in ``mmdet/.mim/tools``; one that runs from its source tree, beside
    ``mmdet``.
    """
    format_each_config_once()
    read_each_metafile_once()
    package = Path(mmdet.__file__).parent
    installed, beside = package / '.mim' / 'tools' / name, package.parent / 'tools' / name
    runpy.run_path(str(installed if installed.exists() else beside), run_name='__main__')


def format_each_config_once() -> None:
    """Keep what yapf made of a config: MMEngine has it formatted with each checkpoint, 1 s each."""
    stock, formatted = yapf_api.FormatCode, {}

    def format_code(text: str, **options) -> tuple:
        key = text, repr(options)
        if key not in formatted:
            formatted[key] = stock(text, **options)
        return formatted[key]

    yapf_api.FormatCode = config.FormatCode = format_code  # MMEngine 0.10.7 has a name of its own for it


def read_each_metafile_once() -> None:
    """Keep MMDetection's metafiles: MMEngine reads all hundred of them for each ``mmdet::`` in a config, 1 s."""
    config_utils.load = functools.cache(config_utils.load)
