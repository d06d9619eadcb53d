# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release and deletion on the web page: by those allowed, from the page's own form, and by the gateway's process."""

from __future__ import annotations

import json
import re

import pytest
from gateway_doubles import Hop
from web_site import KEPT, web_site

from mailgate.content.quarantine import DIRECTORY
from mailgate.web.data_client import Data, DataError


async def token_of(web, user="alice") -> str:
    page = (await web.get(f"/quarantine/{KEPT}", user)).text
    found = re.search('name="token" value="([0-9a-f]{64})"', page)
    return found[1] if found else ""


async def test_a_postmaster_releases_a_message(tmp_path):
    hop = Hop()
    await hop.start()
    try:
        async with web_site(tmp_path, marker="x", queue=f"127.0.0.1:{hop.port}") as web:
            answer = await web.post(f"/quarantine/{KEPT}/release", token=await token_of(web))
            assert answer.status_code == 303
            assert answer.headers["location"] == f"/quarantine?done=release&number={KEPT}"
            assert list(web.quarantine.entries()) == []
            assert (await web.post(f"/quarantine/{KEPT}/release", token="x")).status_code == 403
    finally:
        hop.stop()


async def test_a_message_stays_when_the_queue_is_down(web):
    answer = await web.post(f"/quarantine/{KEPT}/release", token=await token_of(web))
    assert answer.status_code == 503 and "Connect" in answer.text
    assert [entry.id for entry in web.quarantine.entries()] == [KEPT]


async def test_a_postmaster_deletes_a_message_once(web):
    token = await token_of(web)
    assert (await web.post(f"/quarantine/{KEPT}/delete", token=token)).status_code == 303
    assert list(web.quarantine.entries()) == []
    assert (await web.post(f"/quarantine/{KEPT}/delete", token=token)).status_code == 404


@pytest.mark.parametrize("user", ["victor", "carol", "mallory"])
async def test_others_change_nothing(web, user):
    assert await token_of(web, user) == ""
    token = await token_of(web)
    for action in ("release", "delete"):
        assert (await web.post(f"/quarantine/{KEPT}/{action}", user, token=token)).status_code == 403
        with pytest.raises(DataError, match=r"forbidden|mallory"):
            await Data(str(web.path / "data.sock"), user).ask(action, {"number": KEPT})
    assert [entry.id for entry in web.quarantine.entries()] == [KEPT]


async def test_a_form_of_another_site_changes_nothing(web):
    path, token = f"/quarantine/{KEPT}/delete", await token_of(web)
    for fields in ({}, {"token": ""}, {"token": "0" * 64}, {"token": "\u00e9"}):
        assert (await web.post(path, **fields)).status_code == 403
    headers = {"x-remote-user": "alice", "sec-fetch-site": "cross-site"}
    assert (await web.client.post(path, headers=headers, data={"token": token})).status_code == 403
    large = await web.client.post(path, headers={"x-remote-user": "alice"}, content=b"token=" + b"a" * 20_000)
    assert large.status_code == 413
    many = await web.client.post(path, headers={"x-remote-user": "alice"}, content=b"a=b&" * 100)
    assert many.status_code == 400
    assert (await web.get(path)).status_code == 405
    assert [entry.id for entry in web.quarantine.entries()] == [KEPT]


@pytest.mark.parametrize("number", ["..%2Froutes", "..", "%00", "abcdef.part", "x" * 300])
async def test_a_number_names_nothing_outside_the_quarantine(web, number):
    answer = await web.post(f"/quarantine/{number}/delete", token=await token_of(web))
    assert answer.status_code in (400, 404, 405)
    assert (web.path / "routes").exists()
    assert [entry.id for entry in web.quarantine.entries()] == [KEPT]


async def test_a_damaged_file_is_skipped_with_a_note(web):
    for number, head in enumerate((b"", b"{", b"[]", b'{"id": 1}', b"\xff\xfe", json.dumps({"id": "x"}).encode())):
        (web.path / DIRECTORY / f"aaaaaa{number}").write_bytes(head + b"\nbody")
    page = await web.get("/quarantine")
    assert page.status_code == 200
    assert page.text.count("skipped") == 6 and f"/quarantine/{KEPT}" in page.text
