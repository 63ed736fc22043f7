"""The frame of every page: self-contained, under a content policy that lets nothing in from
elsewhere and runs only the script given.
"""

from __future__ import annotations

import base64
import hashlib
import html

from xray_tf.pages.kit.style import STYLE


def html_page(
    title: str,
    content: str,
    footer: str,
    style: str = "",
    script: str = "",
    data: str = "",
    after: str = "",
    skip: str = "main",
) -> str:
    """Return a whole HTML document.

    Args:
        title: plain text.
        content: HTML inside `<main id="main">`.
        footer: plain text under it.
        style: CSS after the house's own.
        script: JavaScript, the only one that may run.
        data: JSON, safe to stand in a script element, for the script to read from `#data`.
        after: HTML after the footer.
        skip: the id that the first link jumps to.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        policy += (
            "; script-src "
            f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        )
    tail = (
        after
        + (f'<script type="application/json" id="data">{data}</script>\n' if data else "")
        + (f"<script>{script}</script>\n" if script else "")
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<a class="skip" href="#{skip}">Skip to the {"content" if skip == "main" else skip}</a>
<main id="main">
{content}
</main>
<footer>{html.escape(footer)}</footer>
{tail}</body>
</html>
"""
