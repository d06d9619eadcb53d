# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages in Chromium: axe-core finds nothing serious, no markup from mail runs, and the page's own policy holds.

The screenshots are in the directory that MAILGATE_SCREENSHOTS names.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from service_process import free_port
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from web_site import ATTACK, KEPT, MAIL, web_site

ROOT = Path(__file__).resolve().parents[4]
AXE = ROOT / ".cache" / "readers" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
SECONDS = 60
PAGES = {
    "now": "/",
    "search": "/search?text=eng.univ.example",
    "live": "/live",
    "queue": "/queue",
    "report": "/report",
    "mail": f"/mail?id={MAIL}",
    "quarantine": "/quarantine",
    "kept": f"/quarantine/{KEPT}",
    "address": "/address?client=192.0.2.1&recipient=x@eng.univ.example",
    "routes": "/routes",
    "error": "/nothing",
}
# Calls of markup from mail would be `alert`.
FIRST = "window.alert = () => { window.called = true; };"
RUN = """
axe.run().then(found => {
  const result = document.createElement("pre");
  result.id = "axe";
  result.textContent = JSON.stringify({
    called: window.called === true,
    checked: found.passes.length,
    violations: found.violations.map(each => [each.impact, each.id, each.nodes[0].html]),
  });
  document.body.append(result);
});
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("chromium"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]


class Front:
    """Signs a visitor in; with `checks`, the policy of the page is removed and axe-core runs in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.language = "en"
        self.checks = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        files = {"/first.js": FIRST, "/axe.js": AXE.read_text() if AXE.exists() else "", "/run.js": RUN}
        if scope["path"] in files and self.checks:
            await Response(files[scope["path"]], media_type="text/javascript")(scope, receive, send)
            return
        own = [(b"x-remote-user", b"alice"), (b"cookie", f"mailgate_language={self.language}".encode())]
        started: list[Message] = []

        async def changed(message: Message) -> None:
            if not self.checks or not message.get("headers", started):
                await send(message)
            elif message["type"] == "http.response.start":
                started.append(message)
            else:
                body = message["body"].replace(b"<head>", b'<head><script src="/first.js"></script>')
                scripts = b'<script src="/axe.js"></script><script src="/run.js"></script></body>'
                body = body.replace(b"</body>", scripts)
                dropped = (b"content-security-policy", b"content-length")
                headers = [pair for pair in started.pop()["headers"] if pair[0] not in dropped]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({**message, "body": body})

        await self._app({**scope, "headers": [*scope["headers"], *own]}, receive, changed)


@dataclass
class Browser:
    """Chromium, and the page that it visits."""

    front: Front
    port: int
    directory: Path

    async def run(self, path: str, *options: str) -> tuple[str, str]:
        """Return what Chromium prints and logs."""
        process = await asyncio.create_subprocess_exec(
            str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={self.directory}/profile", "--enable-logging=stderr", "--virtual-time-budget=10000",
            *options, f"http://127.0.0.1:{self.port}{path}",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(SECONDS):
            out, log = await process.communicate()
        return out.decode(), log.decode(errors="replace")


@asynccontextmanager
async def browser_on(path: Path, marker: str) -> AsyncIterator[Browser]:
    async with web_site(path, marker=marker) as web:
        front, port = Front(web.app), free_port()  # type: ignore[arg-type]
        settings = uvicorn.Config(front, port=port, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(settings)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.02)
        try:
            yield Browser(front, port, path)
        finally:
            server.should_exit = True
            await task


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make setup-tests")
async def test_axe_finds_nothing_serious_and_no_markup_from_mail_runs(tmp_path):
    async with browser_on(tmp_path, ATTACK) as browser:
        browser.front.checks = True
        for language in ("en", "ja"):
            browser.front.language = language
            for name, path in PAGES.items():
                dom, log = await browser.run(path, "--dump-dom")
                found = re.search(r'<pre id="axe">(.*?)</pre>', dom, re.DOTALL)
                assert found, (name, log[-2000:])
                result = json.loads(html.unescape(found[1]))
                assert result["checked"] > 10
                assert result["called"] is False, name
                assert result["violations"] == [], (name, language)


@pytest.fixture
def screenshots(tmp_path) -> Path:
    directory = Path(os.environ.get("MAILGATE_SCREENSHOTS") or tmp_path)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


async def test_pages_are_drawn_within_their_own_policy(tmp_path, screenshots):
    async with browser_on(tmp_path, "alice") as browser:
        for language in ("en", "ja"):
            browser.front.language = language
            for name in ("now", "search", "report", "kept"):
                file = screenshots / f"{name}.{language}.png"
                _out, log = await browser.run(PAGES[name], f"--screenshot={file}", "--window-size=1280,1400")
                assert file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 20_000
                assert "CONSOLE" not in log, log
