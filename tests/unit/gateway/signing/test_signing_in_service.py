# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures by the service as it is installed: without the package `cryptography`, by each worker, from the start."""

from __future__ import annotations

import dkim
import pytest
from dns_server import serving_dns
from service_process import connect, serving
from signed_mail import key, txt

MESSAGE = (
    b"From: Alice <alice@a.example>\r\nTo: bob@a.example\r\nSubject: hello\r\nMessage-ID: <%d@x>\r\n\r\nHello.\r\n"
)


@pytest.mark.slow
async def test_each_worker_signs_from_its_first_message_on(pyz, tmp_path):
    (tmp_path / "key.pem").write_bytes(key()[0])
    async with serving_dns() as dns:
        dns.add("gw1._domainkey.a.example", "TXT", txt(key()[1]))
        settings = (
            f'[refusal]\ndns_servers = ["{dns.address}"]\n'
            f'[dkim."a.example"]\nselector = "gw1"\nkey_file = "{tmp_path}/key.pem"\n'
        )
        async with serving(pyz, tmp_path, settings, 'relay_networks = ["127.0.0.0/8"]\n') as (service, hop, port):
            await service.until("READY=1")
            for number in range(12):
                client = await connect(port)
                assert await client.start("bob@a.example") == ["250 2.1.5 Recipient accepted"]
                assert (await client.send(MESSAGE % number)).startswith("250 2.0.0")
                client.writer.close()
    record = key()[1].encode()
    assert [dkim.verify(each.content, dnsfunc=lambda _name, timeout=5: record) for each in hop.received] == [True] * 12
