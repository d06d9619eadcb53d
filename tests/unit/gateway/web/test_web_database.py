# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page over an event database: the mail of another gateway, and a server that is away."""

from __future__ import annotations

import pytest
from event_database import DatabaseServer, settings_text
from web_site import MAIL, SETTINGS, web_site

from mailgate.web import merge


@pytest.fixture
def section(database_server: DatabaseServer) -> str:
    return SETTINGS + settings_text(database_server.empty())


@pytest.mark.slow
async def test_pages_show_what_the_database_has_and_what_it_lacks(tmp_path, section, database_server):
    async with web_site(tmp_path, more=section, marker="marker") as web:
        assert MAIL in (await web.get("/search?text=bob@law.univ.example")).text
        assert "marker" in (await web.get(f"/mail?id={MAIL}")).text
        assert "law.univ.example" in (await web.get("/report")).text
        database_server.crash()
        for path in ("/search?text=bob@law.univ.example", "/report"):
            page = await web.get(path)
            assert page.status_code == 200 and "Connection refused" in page.text, path
        # The checks are shown, too.
        page = (await web.get("/")).text
        assert "Incomplete" in page
        assert page.count("Connection refused") > 1


def test_an_event_that_several_gateways_know_is_shown_once_with_its_own():
    event = {"event": "message", "id": MAIL, "time": 1.0}
    later = {"event": "message", "id": "2", "time": 2.0}
    answers = {"gw1": [event, {**later, "gateway": "gw2"}], "gw2": [later, {**event, "gateway": "gw1"}]}
    assert merge.events(answers, 10) == [("gw2", later), ("gw1", event)]
