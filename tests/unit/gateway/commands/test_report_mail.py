# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monthly report by mail: a well-formed message, to all recipients or none, once for a month."""

from __future__ import annotations

import asyncio
import email
import email.policy
import fcntl
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
from gateway_doubles import Hop
from page_reader import Page

from mailgate.cli import main
from mailgate.commands import report, report_mail
from mailgate.commands.report_mail import last_month, parse_month
from mailgate.config import ConfigError
from mailgate.config_file import load_config, parse_config
from mailgate.event_index.stores import open_writable
from mailgate.state import REPORT_SENT

Run = Callable[..., Awaitable[int]]
# The commands' time, soon after a month's end: that of the machine may pass one while a test runs.
NOW = datetime(2027, 3, 1, 0, 0, 10)
THIS, LAST = "2027-03", "2027-02"


class Clock(datetime):
    """The class, with a fixed time."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Clock:
        return cls.fromtimestamp(NOW.timestamp(), tz)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "datetime", Clock)
    monkeypatch.setattr(report_mail, "datetime", Clock)


@pytest.fixture
async def queue() -> AsyncIterator[Hop]:
    hop = Hop()
    await hop.start()
    yield hop
    hop.stop()


@pytest.fixture
def run(tmp_path: Path, queue: Hop, event_store_settings: str) -> Run:
    """Run `mailgate report` with an index of July 2026 and a queue that is a real server."""
    moment = datetime(2026, 7, 2, 12).astimezone().timestamp()
    event = {"time": moment, "event": "message", "client": "198.18.0.1", "sender": "", "seconds": 1, "reply": "250 ok",
             "recipients": ['"<b>&"@a.univ.example']}  # fmt: skip
    (tmp_path / "routes").write_text("a.univ.example\t198.18.1.1\n")
    (tmp_path / "countries.csv").write_text("198.18.0.0,198.18.255.255,JP\n")
    (tmp_path / "mailgate.toml").write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
        f'own_names = ["gw1.univ.example", "gw2.univ.example"]\nqueue = "127.0.0.1:{queue.port}"\n'
        f'report_countries = "{tmp_path}/countries.csv"\n'
        'postmaster = "postmaster@univ.example"\nreport_mail_to = ["a@univ.example", "b@univ.example"]\n'
        f"{event_store_settings}"
    )
    with closing(open_writable(load_config(tmp_path / "mailgate.toml"), print)) as store:
        assert store.add("20260702", [(event, b"{}")], "x", 0, 1)

    async def call(*words: str) -> int:
        return await asyncio.to_thread(main, ["report", "--config", str(tmp_path / "mailgate.toml"), *words])

    return call


@pytest.mark.parametrize("language", ["en", "ja"])
async def test_the_message(run, queue, tmp_path, language):
    assert await run("--mail", "--month", "2026-07", "--language", language) == 0
    (received,) = queue.received
    assert (received.sender, received.recipients) == ("postmaster@univ.example", ["a@univ.example", "b@univ.example"])
    content = received.content
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|[^\x01-\x7f]", content) is None
    assert max(map(len, content.split(b"\r\n"))) <= 998
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert not [part.defects for part in mail.walk() if part.defects]
    assert mail["From"].addresses[0].addr_spec == "postmaster@gw1.univ.example"
    assert [each.addr_spec for each in mail["To"].addresses] == received.recipients
    assert mail["Message-ID"] == "<2026-07.report@gw1.univ.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert abs((mail["Date"].datetime - datetime.now().astimezone()).total_seconds()) < 60
    text, page = (part.get_content().replace("\r\n", "\n") for part in mail.iter_parts())
    (_text, attachment) = mail.iter_parts()
    assert attachment.get_content_type() == "text/html"
    assert attachment.get_filename() == "mailgate-report-2026-07.html"
    Page(page).check_self_contained(page, language)
    assert "&lt;b&gt;&amp;" in page
    for part in (mail["Subject"], text, page):
        assert bool(re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", part)) is (language == "ja")
        assert "gw1.univ.example" in part
    for part in (text, page):
        assert "2026-07-01 00:00 - 2026-08-01 00:00" in part
        assert re.search(r"\bJP\b", part)
        # The gateway says whose mail is not in it.
        assert "gw2.univ.example" in part
    assert (tmp_path / REPORT_SENT).read_text() == "2026-07\n"


async def test_a_month_is_sent_once(run, queue, tmp_path, capsys):
    assert await run("--mail") == 0
    assert await run("--mail") == 0
    assert "sent before" in capsys.readouterr().out
    assert await run("--mail", "--month", "2026-07") == 0
    assert len(queue.received) == 1
    assert await run("--mail", "--month", "2026-07", "--again") == 0
    assert len(queue.received) == 2
    # The record is that of the latest month.
    assert (tmp_path / REPORT_SENT).read_text() == f"{LAST}\n"


@pytest.mark.parametrize("stage", ["rcpt", "final", "down"])
async def test_a_failure_is_a_line_and_a_later_run_sends_it(run, queue, tmp_path, capsys, stage):
    if stage == "rcpt":
        queue.rcpt = lambda to: "250 ok" if to.startswith("a@") else "451 4.3.0 later"
    elif stage == "final":
        queue.final = "452 4.3.1 disk full"
    else:
        port = queue.port
        queue.stop()
    assert await run("--mail") == 1
    assert re.fullmatch(r"mailgate: queue 127\.0\.0\.1:\d+: .+\n", capsys.readouterr().err)
    assert not [path for path in tmp_path.iterdir() if REPORT_SENT in path.name]
    assert queue.received == []
    if stage == "down":
        await queue.start(port)
    queue.rcpt, queue.final = (lambda _: "250 ok"), "250 ok"
    assert await run("--mail") == 0
    assert len(queue.received) == 1


async def test_without_a_record_nothing_is_sent(run, queue, tmp_path, capsys):
    (tmp_path / f".{REPORT_SENT}.new").mkdir()
    assert await run("--mail") == 1
    assert "not sent" in capsys.readouterr().err
    assert queue.received == []


async def test_two_runs_at_once_send_one(run, queue, tmp_path, capsys):
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert await run("--mail") == 1
    finally:
        os.close(handle)
    assert "another process" in capsys.readouterr().err
    assert queue.received == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--mail", "--month", THIS), "not over yet"),
        (("--mail", "--json"), "only with --month"),
        (("--mail", "--since", "2d"), "only with --month"),
        (("--month", "2026-07", "--since", "2d"), "not with --since"),
        (("--again",), "only with --mail"),
    ],
)
async def test_options_that_do_not_fit(run, queue, capsys, words, problem):
    assert await run(*words) == 2
    assert problem in capsys.readouterr().err
    assert queue.received == []


async def test_a_page_is_written_to_a_file(run, tmp_path, capsys):
    assert await run("--month", "2026-07", "--html", str(tmp_path / "page.html")) == 0
    text = (tmp_path / "page.html").read_text()
    Page(text).check_self_contained(text, "en")
    assert await run("--html", str(tmp_path / "none" / "page.html")) == 1
    assert "No such file" in capsys.readouterr().err


async def test_a_file_of_countries_that_cannot_be_read_is_a_remark(run, queue, tmp_path, capsys):
    (tmp_path / "countries.csv").write_text("\0")
    assert await run("--month", "2026-07") == 0
    (tmp_path / "countries.csv").unlink()
    assert await run("--mail") == 0
    assert capsys.readouterr().err.count("mailgate: report_countries: ") == 2
    assert len(queue.received) == 1


async def test_recipients_are_needed(run, queue, tmp_path, capsys):
    settings = tmp_path / "mailgate.toml"
    settings.write_text(re.sub("report_mail_to.*", "", settings.read_text()))
    assert await run("--mail") == 2
    assert "report_mail_to" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["", "a", "a@b@c", "a@univ.example\\r\\nBcc: x", "Name <a@univ.example>"])
def test_recipients_are_addresses(address):
    with pytest.raises(ConfigError, match="report_mail_to"):
        parse_config(f'hostname = "gw1.univ.example"\nroutes_file = "/x"\nreport_mail_to = ["{address}"]\n')


def test_months():
    assert last_month(datetime(2027, 1, 31, 23, 59).astimezone()).name == "2026-12"
    december = parse_month("2026-12")
    assert (december.since.isoformat()[:10], december.until.isoformat()[:10]) == ("2026-12-01", "2027-01-01")
    for text in ("2026-13", "2026-00", "2026-7", "26-07", "0000-01", "9999-12", "x"):
        with pytest.raises(Exception, match="not a valid month"):
            parse_month(text)
