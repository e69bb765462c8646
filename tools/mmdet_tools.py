import functools
import runpy
from pathlib import Path

import mmdet
from mmengine.config import config
from mmengine.config import utils as config_utils
from yapf.yapflib import yapf_api


def run_mmdet_tool(name: str) -> None:
    """Run one of MMDetection's command line tools in this process, with this process's arguments.

    An installed MMDetection holds its tools in ``mmdet/.mim/tools``; one that runs from its source tree, beside
    ``mmdet``.

    Args:
        name (str): File name below MMDetection's ``tools``, such as 'train.py'.

    Raises:
        FileNotFoundError: If MMDetection was installed without its tools.
    """
    package = Path(mmdet.__file__).parent
    format_each_config_once()
    read_each_metafile_once()
    paths = [package / '.mim' / 'tools' / name, package.parent / 'tools' / name]
    for path in paths:
        if path.exists():
            runpy.run_path(str(path), run_name='__main__')
            return
    raise FileNotFoundError(f'MMDetection has no tools/{name}; looked for {", ".join(map(str, paths))}')


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
