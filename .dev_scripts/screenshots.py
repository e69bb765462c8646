"""Take the docs' images of the pages that browse_hard_negatives.py wrote (docs/inspect.md has the commands).

python .dev_scripts/screenshots.py work_dirs/seen/page.html docs/images/page.jpg
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which('chromium'))
    page = browser.new_page(viewport=dict(width=1200, height=1000))
    page.goto(Path(sys.argv[1]).absolute().as_uri())
    page.screenshot(path=sys.argv[2], quality=80)
    browser.close()
