"""A page in a real browser, with a script of the test's own."""

import base64
import hashlib
import re
import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=3000 --dump-dom"
).split()


def told_in_browser(page, probe, folder):
    """Run `probe` once the page has loaded, and return what it put into the page's title.

    The policy refuses scripts that it does not name, so the test's own is named in it too.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("needs a Chromium")
    probe = f"addEventListener('load', () => {{ {probe} }});"
    digest = base64.b64encode(hashlib.sha256(probe.encode()).digest()).decode()
    page = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    line = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    dom = subprocess.run(line, capture_output=True, text=True, timeout=600).stdout
    return re.search(r"<title>(.*?)</title>", dom, re.S)[1]
