"""MkDocs hooks: the pages of the site that lie outside ``docs/``, with their links turned to the site's."""

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
# as these pages name each other, and as those in docs/ do
FILES = {prefix + source: page for page, (source, _) in PAGES.items() for prefix in ('', '../')}
# lab/ is no part of the site
RECORD = re.compile(r'\[([^]]+)\]\((?:\.\./)*lab/[^)\s]*\)')


def _to_site(target: str, docs: str) -> str:
    return FILES.get(target) or target.removeprefix(docs)


def on_files(files: Files, config) -> Files:
    root = Path(config.config_file_path).parent
    for page, (source, docs) in PAGES.items():
        text = re.sub(r'(?<=\]\()[^)\s]+', lambda link, docs=docs: _to_site(link[0], docs), (root / source).read_text())
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    markdown = RECORD.sub(r'\1 (in the repository)', markdown)
    return re.sub(r'(?<=\]\()[^)\s]+', lambda link: FILES.get(link[0], link[0]), markdown)
