# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue on the page: how much waits, for whom, and why; for a faculty, what waits for its domains."""

from __future__ import annotations

import pytest
from web_site import ATTACK, Page

from mailgate.commands.mail_queue import QueuedMessage, QueueUnreadableError

QUEUED = [
    QueuedMessage(
        "5AUH6Vab012345", False, 812, 1000.0, "a@sender.example", "Deferred: <bob@law.univ.example>... refused",
        ["ann@eng.univ.example", "bob@law.univ.example"],
    ),
    QueuedMessage("5AUH6Vab012346", True, None, 500.0, "", "", ["dan@law.univ.example"]),
    QueuedMessage("5AUH6Vab012347", False, 9, 2000.0, ATTACK, ATTACK, [f"{ATTACK}@eng.univ.example"]),
]  # fmt: skip


@pytest.fixture(autouse=True)
def queued(monkeypatch):
    monkeypatch.setattr("mailgate.web.operations.waiting", lambda _seconds: list(QUEUED))


def rows(text: str) -> list[str]:
    """Return the rows of the list of messages."""
    return text.rpartition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:-1]


async def test_the_oldest_message_is_first_and_leads_to_its_trace(web):
    page = (await web.get("/queue")).text
    assert [row.count("5AUH6Vab01234") for row in rows(page)] == [2, 2, 2]
    assert "5AUH6Vab012346" in rows(page)[0] and "5AUH6Vab012347" in rows(page)[2]
    assert "/mail?id=5AUH6Vab012346&amp;gateway=gw1.univ.example" in page
    assert "It is being sent." in rows(page)[0]
    assert "Messages that wait: 3" in page
    assert page.index("eng.univ.example</bdi></th>") < page.index("law.univ.example</bdi></th>")


async def test_the_first_page_has_the_sum(web):
    page = (await web.get("/")).text
    assert "Messages that wait: 3" in page
    assert '<a href="/queue">' in page


async def test_a_faculty_sees_what_waits_for_its_domains(web):
    page = (await web.get("/queue", "carol")).text
    assert "Messages that wait: 2" in page
    assert "ann@eng.univ.example" in page
    assert "law.univ.example" not in page
    assert "5AUH6Vab012346" not in page
    assert "Messages that wait: 2" in (await web.get("/", "carol")).text


async def test_markup_from_mail_is_text(web):
    page = Page((await web.get("/queue")).text)
    assert {tag for tag, _attributes in page.tags}.isdisjoint({"script", "img", "iframe", "object", "style"})


async def test_a_queue_that_cannot_be_listed_is_named(web, monkeypatch):
    def fail(_seconds: float) -> list[QueuedMessage]:
        raise QueueUnreadableError("mailq: not permitted")

    monkeypatch.setattr("mailgate.web.operations.waiting", fail)
    for path in ("/", "/queue"):
        answer = await web.get(path)
        assert answer.status_code == 200
        assert "mailq: not permitted" in answer.text


async def test_an_empty_queue_is_said(web, monkeypatch):
    monkeypatch.setattr("mailgate.web.operations.waiting", lambda _seconds: [])
    for path in ("/", "/queue"):
        assert "The queue is empty." in (await web.get(path)).text
