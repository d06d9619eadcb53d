# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zone transfers from a server that refuses them, as BIND 9.20 does unless `allow-transfer` permits them."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator

import dns.message
import dns.rcode
import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.client import DnsClient
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError


class Refusing(socketserver.StreamRequestHandler):
    """Answers each query over TCP with REFUSED."""

    def handle(self) -> None:
        (length,) = struct.unpack("!H", self.rfile.read(2))
        query = dns.message.from_wire(self.rfile.read(length), keyring=False)
        answer = struct.pack("!HHHHHH", query.id, 0x8000 | dns.rcode.REFUSED, 0, 0, 0, 0)
        self.wfile.write(struct.pack("!H", len(answer)) + answer)


@pytest.fixture
def port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_refused_transfer_names_the_setting_of_the_server(port: int):
    with pytest.raises(ZoneError) as refused:
        DnsClient("127.0.0.1", port, 60).transfer("eng.test", None)
    assert refused.value.problems == [
        "zone eng.test: transfer from 127.0.0.1 failed: REFUSED. Add the address of this server "
        "to allow-transfer there; BIND 9.20 and later permit no transfer by default"
    ]
