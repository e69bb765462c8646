"""MkDocs hook: the pages of the site that lie outside ``docs/``, with their links turned to the site's."""

import re
from pathlib import Path

from mkdocs.structure.files import File, Files

# page of the site: the file, and what its links begin with when they point into docs/
PAGES = {
    'index.md': ('README.md', 'docs/'),
    'configs.md': ('configs/nrpn/README.md', '../../docs/'),
    'changelog.md': ('CHANGELOG.md', 'docs/'),
    'contributing.md': ('CONTRIBUTING.md', 'docs/'),
}
FILES = {source: page for page, (source, _) in PAGES.items()} | {'configs/nrpn': 'configs.md'}


def _to_site(target: str, docs: str) -> str:
    return FILES.get(target) or target.removeprefix(docs)


def on_files(files: Files, config) -> Files:
    root = Path(config.config_file_path).parent
    for page, (source, docs) in PAGES.items():
        text = re.sub(r'(?<=\]\()[^)\s]+', lambda link, docs=docs: _to_site(link[0], docs), (root / source).read_text())
        files.append(File.generated(config, page, content=text))
    return files
