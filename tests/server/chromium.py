"""A headless Chromium, driven over its DevTools pipe: no driver, no sockets, no library."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--remote-debugging-pipe"
).split()
PATIENCE_S = 600.0  # only a hang takes as long
# Chromium reads commands from descriptor 3 and writes answers to 4
DANCE = """
import fcntl, os, sys
ours = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
os.dup2(ours[0], 3), os.dup2(ours[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Chromium:
    """One tab; a context manager that ends the browser."""

    def __init__(self, folder: Path, width: int = 1440, height: int = 900):
        browser = next(filter(None, map(shutil.which, BROWSERS)), None)
        if browser is None or sys.platform == "win32":
            pytest.skip("needs a Chromium")
        ours, theirs = os.pipe(), os.pipe()  # commands, answers
        line = [browser, *FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(
            [sys.executable, "-SEc", DANCE, str(ours[0]), str(theirs[1]), *line, "about:blank"],
            pass_fds=(ours[0], theirs[1]),
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._to, self._from = os.fdopen(ours[1], "wb"), os.fdopen(theirs[0], "rb")
        self._ids, self._session, self._rest, self.events = itertools.count(1), None, b"", []
        page = next(t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self("Target.attachToTarget", targetId=page["targetId"], flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters):
        """Send one command and return its answer; what happens meanwhile goes to `events`."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            told = self._read()
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]
            self.events.append(told)

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            some = os.read(self._from.fileno(), 1 << 16)
            assert some, "Chromium went away"
            self._rest += some
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, address: str) -> None:
        self("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, code: str):
        """Return the value of an expression in the page."""
        told = self("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if self.js(f"Boolean({condition})"):
                return
            time.sleep(0.1)
        raise AssertionError(f"never: {condition}")

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in an input, as a person does."""
        node = self("DOM.getDocument")["root"]["nodeId"]
        found = self("DOM.querySelector", nodeId=node, selector=selector)["nodeId"]
        self("DOM.setFileInputFiles", nodeId=found, files=[str(f) for f in files])

    def drop(self, *files: Path) -> None:
        """Drop files on the middle of the page, as a person does from a file manager."""
        data = {"items": [], "files": [str(f) for f in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self("Input.dispatchDragEvent", type=kind, x=400, y=300, data=data)

    def drag(self, selector: str, share: float) -> None:
        """Press the mouse on a slider and let go at a share of its width."""
        box = self.js(f"document.querySelector('{selector}').getBoundingClientRect().toJSON()")
        x, y = box["x"] + share * box["width"], box["y"] + box["height"] / 2
        for kind, at in (("mousePressed", box["x"] + 2), ("mouseMoved", x), ("mouseReleased", x)):
            self("Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, **more) -> None:
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", **more)["data"]))

    def pdf(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self("Page.printToPDF", printBackground=True)["data"]))

    def requested(self) -> list[str]:
        """Return every address that was asked for, but pictures inside the page."""
        self.js("1")
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [e["params"]["request"]["url"] for e in sent]
        return [u for u in urls if not u.startswith(("data:", "blob:"))]

    def complaints(self) -> list[str]:
        """Return the errors on the console: exceptions, refused contents, failed requests."""
        found = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            if event.get("method") == "Log.entryAdded":
                entry = event["params"]["entry"]
                found += [entry["text"]] if entry["level"] in ("error", "warning") else []
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._to.close()
        self._from.close()
        self.process.terminate()
        self.process.wait(PATIENCE_S)
