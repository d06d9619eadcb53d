# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway's state with mail of two faculties, and the web page over it, asked as a browser behind a web server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import httpx

from mailgate.config import QuarantineLimits
from mailgate.config_file import load_config
from mailgate.content.quarantine import Entry, Quarantine
from mailgate.event_index.follower import Follower
from mailgate.event_index.stores import open_writable
from mailgate.event_spool import Spool
from mailgate.web.app import application
from mailgate.web.data_server import Current, Desk, start

# What a mail can have in any field: markup, a quoted attribute, a template, control characters, a half surrogate.
ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 191*7321 }}{% raw %}",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "\x00\x1b[31m\u202eevil\ud800",
)
ATTACK = " ".join(ATTACKS)
MAIL = "19ab3f0c5d2e4f123"
KEPT = "abcdef012345"
SETTINGS = """
[web]
postmasters = ["alice", "@postmasters"]
viewers = ["victor"]
groups_header = "X-Groups"
[web_faculties.engineering]
users = ["carol"]
domains = ["eng.univ.example", "*.eng.univ.example"]
[web_faculties.law]
users = ["dave", "@law"]
domains = ["law.univ.example"]
"""


def events(now: float, marker: str = ATTACK) -> list[dict[str, object]]:
    """Return the events of a mail for both faculties, with `marker` in every field that mail can fill."""
    who = {"client": "198.18.9.9", "helo": marker, "sender": f"{marker}@sender.example"}
    both = [f"{marker}@eng.univ.example", "bob@law.univ.example"]
    mail = {"id": MAIL, "session": f"{MAIL[:16]}s"}
    return [
        {"event": "recipient", **mail, "recipient": both[0], "verified": "server"},
        {"event": "finding", **mail, **who, "finding": "infected", "name": marker, "action": "strip",
         "recipients": both, "removed": [marker], "reason": marker},
        {"event": "delivered", **mail, "next_hop": "198.18.1.1", "recipients": both[:1], "reply": f"250 {marker}",
         "seconds": 0.1, "queue_id": marker},
        {"event": "delivered", **mail, "next_hop": "198.18.1.2", "recipients": both[1:],
         "reply": "250 ok <bob@law.univ.example>", "seconds": 0.1},
        {"event": "message", **mail, **who, "recipients": both, "reply": f"250 2.0.0 {marker}", "seconds": 0.2,
         "size": 900, "message_id": f"<{marker}@sender.example>", "subject": marker},
        {"event": "recipient_refused", "id": "19ab3f0c5d2e4f999", **who, "recipient": f"{marker}@law.univ.example",
         "reply": f"550 5.1.1 {marker}", "rule": marker},
        {"event": "connection_refused", "client": marker, "reply": "421 4.7.0 Too many connections"},
        {"event": marker, "id": marker, "client": marker},
    ]  # fmt: skip


@dataclass
class Web:
    """The page and what is behind it."""

    path: Path
    client: httpx.AsyncClient
    app: object

    async def get(self, path: str, user: str | None = "alice", language: str = "en", **headers: str) -> httpx.Response:
        own = {"cookie": f"mailgate_language={language}", **headers}
        return await self.client.get(path, headers={**own, **({"x-remote-user": user} if user is not None else {})})

    async def post(self, path: str, user: str = "alice", **fields: str) -> httpx.Response:
        return await self.client.post(path, headers={"x-remote-user": user}, data=fields)

    @property
    def quarantine(self) -> Quarantine:
        return Quarantine(self.path, QuarantineLimits())


def write_settings(path: Path, more: str = "", queue: str = "127.0.0.1:3") -> Path:
    """Write settings and delivery table; return the settings file."""
    (path / "routes").write_text(
        "eng.univ.example\t198.18.1.1\nlaw.univ.example\t198.18.1.2\t198.18.1.3\n*.eng.univ.example\t198.18.1.4\n"
    )
    file = path / "mailgate.toml"
    file.write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{path}/routes"\nstate_dir = "{path}"\nqueue = "{queue}"\n'
        f'listen = ["127.0.0.1:2"]\n[scan]\nsocket = "{path}/clamd"\n{more or SETTINGS}'
    )
    return file


def write_state(path: Path, now: float, marker: str = ATTACK) -> None:
    """Write events, indexed, and a message in the quarantine."""
    spool = Spool(path, 1 << 26)
    for event in events(now, marker):
        assert spool.append(json.dumps({"v": 1, "time": now - 60, **event}).encode() + b"\n")
    spool.close()
    store = open_writable(load_config(path / "mailgate.toml"), print)
    follower = Follower(path, store)
    while follower.step():
        pass
    store.close()
    entry = Entry(
        KEPT, now, marker, f"{marker}@s.example", (f"{marker}@eng.univ.example", "bob@law.univ.example"), marker, 9
    )
    Quarantine(path, QuarantineLimits()).put(entry, [b"Subject: x\r\n\r\nx\r\n"])


@asynccontextmanager
async def web_site(
    path: Path, *, more: str = "", marker: str = ATTACK, queue: str = "127.0.0.1:3", peer: str = "127.0.0.1"
) -> AsyncIterator[Web]:
    """Serve a page; `peer` is the address that asks."""
    settings = write_settings(path, more, queue)
    write_state(path, time.time(), marker)
    socket = str(path / "data.sock")
    server = await start(Desk(Current(settings).operations), socket)
    app = application(load_config(settings), socket)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 5000))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://page.univ.example") as client:
        yield Web(path, client, app)
    server.close()
    await asyncio.sleep(0)


class Page(HTMLParser):
    """What a browser sees: tags with their attributes, and the texts that the page has written itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[tuple[str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag in ("meta", "link", "input", "br", "line"):
            return
        foreign = found.get("class") == "data" or ("lang" in found and tag != "html")
        # Steps and answers quote mail within sentences; other tests cover their texts.
        foreign = foreign or found.get("class") in ("step", "explanation")
        self.open.append((tag, foreign))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, text: str) -> None:
        if text.strip() and not any(foreign for _tag, foreign in self.open):
            self.texts.append(text.strip())
