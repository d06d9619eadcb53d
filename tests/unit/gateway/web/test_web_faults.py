# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is damaged or missing is shown with a word, never with a traceback; the page stays."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from web_site import KEPT, MAIL, SETTINGS, web_site, write_settings

from mailgate.commands.phrases import quoted
from mailgate.commands.status import Check
from mailgate.config_file import load_config
from mailgate.event_index.store import DailyStore
from mailgate.state import COUNTERS, EVENT_INDEX, EVENTS
from mailgate.web.data_client import Data, DataError
from mailgate.web.data_server import Current, Desk, answer_to, start
from mailgate.web.operations import Operations

PAGES = ("/", "/search?text=x@eng.univ.example", "/live", "/report", "/quarantine")


def request(**changes: object) -> bytes:
    return json.dumps({"operation": "now", "user": "alice", "groups": [], "arguments": {}, **changes}).encode()


@pytest.mark.parametrize("path", PAGES)
async def test_a_damaged_index_is_skipped_with_a_note(web, path):
    for file in (web.path / EVENT_INDEX).glob("*.sqlite"):
        file.write_bytes(b"not a database" * 1000)
    for user in ("alice", "carol"):
        page = await web.get(path, user)
        assert page.status_code == 200
        assert ("Incomplete" in page.text) == (path != "/quarantine")
        assert "Traceback" not in page.text


@pytest.mark.parametrize("name", [EVENTS, EVENT_INDEX, COUNTERS, "quarantine"])
async def test_a_state_that_cannot_be_read_is_a_problem_of_that_gateway(web, name):
    place = web.path / name
    if place.is_dir():
        place.rename(web.path / "away")
    place.write_bytes(b"junk" * 100)
    for path in PAGES:
        page = await web.get(path)
        assert page.status_code == 200 and "Traceback" not in page.text, path


async def test_the_process_behind_the_page_being_down_is_shown_in_both_languages(tmp_path):
    async with web_site(tmp_path) as web:
        (tmp_path / "data.sock").unlink()
        for path in PAGES:
            assert "The gateway does not answer" in (await web.get(path)).text
            assert "ゲートウェイが応答しません" in (await web.get(path, language="ja")).text
        for path in ("/routes", f"/mail?id={MAIL}", f"/quarantine/{KEPT}"):
            assert (await web.get(path)).status_code == 503


async def test_an_unexpected_error_is_logged_and_not_shown(web, monkeypatch, caplog):
    monkeypatch.setattr(DailyStore, "hourly", lambda *_arguments: 1 / 0)
    page = await web.get("/")
    assert page.status_code == 200
    assert "ZeroDivisionError" in page.text and "Traceback" not in page.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]",
        b"nonsense",
        b"[" * 100_000,
        request(operation=1),
        request(user=None),
        request(groups="x"),
        request(arguments=[]),
        request(operation="__init__"),
        request(operation="search", arguments={"text": 1}),
        request(operation="search", arguments={"text": "x" * 1000}),
        request(operation="search", arguments={"since": "x"}),
        request(operation="search", arguments={"limit": True}),
        request(operation="report", arguments={"since": 5, "until": 1}),
        request(operation="report", arguments={"since": -1}),
        request(operation="report", arguments={"since": float("nan")}),
        request(operation="trace", arguments={"id": "a@b"}),
        request(operation="address", arguments={"client": "x"}),
        request(operation="release"),
    ],
)
def test_an_invalid_request_is_refused(tmp_path, line):
    current = Current(write_settings(tmp_path))
    assert answer_to(line, current.operations)["refused"] == "invalid"


async def test_a_client_that_sends_nothing_or_too_much_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr("mailgate.web.data_server.READ_SECONDS", 0.05)
    path = str(tmp_path / "s")
    server = await start(Desk(Current(write_settings(tmp_path)).operations), path)
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.read() == b""
    writer.close()
    monkeypatch.undo()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * 200_000)
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(DataError, match="law"):
        await Data(path, "mallory@law").ask("now", {})
    server.close()


def test_changed_settings_are_used_and_invalid_ones_are_not(tmp_path, caplog):
    file = write_settings(tmp_path)
    current = Current(file)
    first = current.operations()
    assert current.operations() is first
    file.write_text(file.read_text().replace('"alice"', '"amy"'))
    os.utime(file, (1, 1))
    second = current.operations()
    assert second is not first and second.config.web.postmasters[0] == "amy"
    file.write_text("nonsense")
    assert current.operations() is second
    assert "the settings of before stay in use" in caplog.text
    caplog.clear()
    assert current.operations() is second and caplog.text == ""


def test_checks_are_not_made_for_every_visitor(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("mailgate.web.operations.run_checks", lambda *_arguments: made.append(1) or [])
    clock = [1000.0]
    operations = Operations(load_config(write_settings(tmp_path, SETTINGS)), (), lambda: clock[0])
    operations._checks = (1000.0, [Check("x", True, quoted(""))])
    operations._checked()
    assert made == []
    clock[0] += 30
    operations._checked()
    assert made == [1]


async def test_a_check_has_a_translated_name_and_what_it_is_about(web, monkeypatch):
    checks = [
        Check("clamd /run/a", True, quoted("up")),
        Check("DNS list zen.example", True, quoted("x")),
        Check("of tomorrow", False, quoted("y")),
    ]
    monkeypatch.setattr("mailgate.web.operations.run_checks", lambda *_arguments: checks)
    page = (await web.get("/", language="ja")).text
    assert 'ウイルス検査 <span lang="en"><bdi class="data">/run/a</bdi></span>' in page
    assert 'DNS リスト <span lang="en"><bdi class="data">zen.example</bdi></span>' in page
    assert '<span lang="en"><bdi class="data">of tomorrow</bdi></span>' in page
    assert "失敗した検査があります" in page
