# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as one file: it has what the spam scan needs, and begins with it without a restart."""

from __future__ import annotations

import asyncio
import signal

import pytest
from fake_rspamd import answer
from gateway_doubles import Client
from service_process import serving
from spam_mail import MESSAGE, spam_fields

pytestmark = pytest.mark.slow


async def send(port: int) -> str:
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    await client.say("PROXY TCP4 198.18.9.9 198.18.9.9 4000 25")
    await client.hello()
    assert (await client.start("bob@a.example"))[0].startswith("250")
    reply = await client.send(MESSAGE)
    client.writer.close()
    return reply


async def test_spam_scan_begins_with_a_reload(pyz, tmp_path, rspamd, dns):
    rspamd.answer = answer(7.5)
    first = 'proxy_protocol_from = ["127.0.0.0/8"]\n'
    async with serving(pyz, tmp_path, f'[refusal]\ndns_servers = ["{dns.address}"]\n', first) as (service, hop, port):
        await service.until("READY=1")
        workers = service.workers()
        assert (await send(port)).startswith("250")
        assert not spam_fields(hop.received[0].content)
        settings = tmp_path / "mailgate.toml"
        settings.write_text(f'{settings.read_text()}[rspamd]\nsocket = "{rspamd.address}"\n')
        service.process.send_signal(signal.SIGHUP)
        await service.until("READY=1")
        for _time in range(600):
            assert (await send(port)).startswith("250")
            if rspamd.messages:
                break
            await asyncio.sleep(0.1)
        assert "X-Spam-Score: 7.50" in spam_fields(hop.received[-1].content)
        assert service.workers() == workers
