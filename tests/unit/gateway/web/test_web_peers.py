# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several gateways in one page: one asks the other over TLS, and one that is down is shown as such."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from service_process import free_port
from web_site import KEPT, MAIL, SETTINGS, Web, web_site, write_settings, write_state

from mailgate.content.quarantine import Quarantine
from mailgate.web import peers
from mailgate.web.data_server import Current, Desk, start_for_peers

OTHER = "gw2.univ.example"


def make_key(path: Path) -> Path:
    """Write a key and its certificate, as the role does."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    parts = [path.with_suffix(".key"), path.with_suffix(".crt")]
    subprocess.run(
        [*command, "-days", "9", "-subj", "/CN=mailgate web", "-keyout", parts[0], "-out", parts[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@dataclass
class Pair:
    """The page of one gateway, and the state of another one."""

    web: Web
    other: Path
    server: asyncio.Server
    port: int
    key: Path


@pytest.fixture
async def pair(tmp_path) -> AsyncIterator[Pair]:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    key, port = make_key(tmp_path / "peers.pem"), free_port()
    web = f'[web]\npeer_file = "{key}"\n'
    settings = write_settings(two, SETTINGS.replace("[web]\n", f'{web}peer_listen = "127.0.0.1:{port}"\n'))
    settings.write_text(settings.read_text().replace("gw1.univ.example", OTHER))
    write_state(two, time.time(), "second")
    server = await start_for_peers(Desk(Current(settings).operations))
    assert server
    more = SETTINGS.replace("[web]\n", f'{web}peers = ["{OTHER}=127.0.0.1:{port}"]\n')
    async with web_site(one, more=more, marker="first") as site:
        yield Pair(site, two, server, port, key)
    server.close()


async def test_all_gateways_are_side_by_side(pair):
    for path in ("/", "/live", "/search?text=eng.univ.example", "/quarantine"):
        text = (await pair.web.get(path)).text
        assert "gw1.univ.example" in text and OTHER in text, path
    text = (await pair.web.get("/search?text=eng.univ.example")).text
    assert "first@eng.univ.example" in text and "second@eng.univ.example" in text
    report = (await pair.web.get("/report")).text
    assert re.search(r'<bdi class="data">law.univ.example</bdi></th><td class="number">2</td>', report)


async def test_a_mail_is_traced_where_it_was(pair):
    for gateway, own, other in (("gw1.univ.example", "first", "second"), (OTHER, "second", "first")):
        text = (await pair.web.get(f"/mail?id={MAIL}&gateway={gateway}")).text
        assert f"{own}@eng.univ.example" in text and f"{other}@eng.univ.example" not in text
    assert (await pair.web.get(f"/mail?id={MAIL}&gateway=gw3.univ.example")).status_code == 404


async def test_a_faculty_sees_its_own_domains_on_all_gateways(pair):
    for path in ("/live", "/quarantine", f"/mail?id={MAIL}&gateway={OTHER}"):
        text = (await pair.web.get(path, "carol")).text
        assert "second@eng.univ.example" in text and "law.univ.example" not in text


async def test_a_message_is_deleted_where_it_is(pair):
    page = (await pair.web.get(f"/quarantine/{KEPT}?gateway={OTHER}")).text
    token = re.search('name="token" value="([0-9a-f]{64})"', page)
    assert token
    answer = await pair.web.post(f"/quarantine/{KEPT}/delete?gateway={OTHER}", token=token[1])
    assert answer.status_code == 303
    assert list(Quarantine(pair.other, pair.web.quarantine._limits).entries()) == []
    assert [entry.id for entry in pair.web.quarantine.entries()] == [KEPT]


async def test_another_gateway_being_down_is_shown_in_both_languages(pair):
    pair.server.close()
    for path in ("/", "/live", "/report", "/quarantine"):
        answer = await pair.web.get(path)
        assert answer.status_code == 200
        assert f'<bdi class="data">{OTHER}</bdi></strong>: The gateway does not answer: 127.0.0.1' in answer.text
        assert "gw1.univ.example" in answer.text
        assert "ゲートウェイが応答しません" in (await pair.web.get(path, language="ja")).text
    assert (await pair.web.get(f"/mail?id={MAIL}&gateway={OTHER}")).status_code == 503


async def test_who_does_not_have_the_key_gets_no_answer(pair, tmp_path):
    settings = pair.web.path / "mailgate.toml"
    settings.write_text(settings.read_text().replace(str(pair.key), str(make_key(tmp_path / "foreign.pem"))))
    assert "The gateway does not answer" in (await pair.web.get("/")).text
    settings.write_text(settings.read_text().replace("foreign.pem", "missing.pem"))
    assert "The gateway does not answer" in (await pair.web.get("/")).text
    # Without a certificate, too.
    plain = ssl.create_default_context()
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        _reader, writer = await asyncio.open_connection("127.0.0.1", pair.port, ssl=plain)
        writer.write(b'{"operation": "routes", "user": "alice", "groups": [], "arguments": {}}\n')
        await _reader.readexactly(1)


async def test_a_gateway_does_not_pass_questions_on(pair):
    found = await peers.ask(
        Current(pair.web.path / "mailgate.toml").operations().config.web,
        OTHER,
        {"operation": "routes", "user": "mallory", "groups": [], "arguments": {}, "gateway": "gw3"},
    )
    assert found["refused"] == "forbidden"


async def test_a_port_in_use_or_a_missing_key_leaves_the_page_alone(tmp_path, caplog):
    listen = f'[web]\npeer_file = "{tmp_path}/missing.pem"\npeer_listen = "127.0.0.1:{free_port()}"\n'
    settings = write_settings(tmp_path, SETTINGS.replace("[web]\n", listen))
    assert await start_for_peers(Desk(Current(settings).operations)) is None
    assert "other gateways cannot ask" in caplog.text and "missing.pem" in caplog.text
