# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium that visits pages: times of a page as a visitor has them, and screenshots.

It is driven by the Chrome DevTools Protocol over two pipes (`--remote-debugging-pipe`), as JSON that ends with NUL.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 60
# Until the page is drawn: the load event's end, in milliseconds since the request.
DRAWN = "performance.getEntriesByType('navigation')[0].loadEventEnd"


class Browser:
    """One tab of a running Chromium."""

    def __init__(self, commands: int, events: int) -> None:
        self._commands, self._events = commands, events
        self._numbers = itertools.count(1)
        self._read = b""
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Network.enable")

    def headers(self, headers: dict[str, str]) -> None:
        """Send these headers with each request."""
        self._call("Network.setExtraHTTPHeaders", headers=headers)

    def visit(self, address: str) -> float:
        """Open a page; return the milliseconds until it was loaded with all that it refers to, and drawn."""
        opened = self._call("Page.navigate", url=address)
        if "errorText" in opened:
            raise RuntimeError(f"{address}: {opened['errorText']}")
        while self._message().get("method") != "Page.loadEventFired":
            pass
        # The event is sent before its own handlers have ended.
        while not (found := self._call("Runtime.evaluate", expression=DRAWN)["result"]["value"]):
            pass
        return float(found)

    def screenshot(self, file: Path, width: int = 1280, height: int = 1400) -> None:
        """Write the page as PNG."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; events meanwhile are dropped."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        text = json.dumps({"id": number, "method": method, "params": parameters, **session}).encode() + b"\0"
        while text:
            text = text[os.write(self._commands, text) :]
        while (message := self._message()).get("id") != number:
            pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            more = os.read(self._events, 1 << 16)
            if not more:
                raise RuntimeError("chromium has ended")
            self._read += more
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


@contextmanager
def browser(program: str | None = None) -> Iterator[Browser]:
    """Start Chromium, without access to other hosts than this one, and end it afterwards.

    Raises:
        RuntimeError: Chromium is not installed.
    """
    program = program or shutil.which("chromium")
    if not program:
        raise RuntimeError("chromium is not installed: make setup-tests")
    commands, ours = os.pipe()
    events, chromiums = os.pipe()
    with tempfile.TemporaryDirectory(prefix="bench-browser", ignore_cleanup_errors=True) as directory:
        # Its ends must be file descriptors 3 and 4.
        shell = f'exec "$0" "$@" 3<&{commands} 4>&{chromiums}'
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, program, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--disable-background-networking", "--remote-debugging-pipe",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={directory}"],
            pass_fds=(commands, chromiums), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(chromiums)
        try:
            yield Browser(ours, events)
        finally:
            os.close(ours)
            os.close(events)
            process.terminate()
            process.wait(PATIENCE)
