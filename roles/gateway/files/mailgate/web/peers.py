# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions between gateways: a line of JSON over TLS 1.3, with the same key and certificate on both sides.

Who has the key is one of the gateways. Names are not compared, as all have the same certificate.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any

from mailgate.config import Endpoint
from mailgate.web.data_client import MAX_ANSWER
from mailgate.web_settings import WebSettings

CONNECT_SECONDS = 5
# Below the time that a page waits for an answer.
ANSWER_SECONDS = 40


def context(path: str, *, server: bool) -> ssl.SSLContext:
    """Return the settings of TLS; raise OSError (ssl.SSLError is one) if the file cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(path)
    made.load_verify_locations(path)
    return made


def endpoints(settings: WebSettings) -> Mapping[str, Endpoint]:
    """Return the addresses of the other gateways by name."""
    pairs = (each.partition("=") for each in settings.peers)
    return {name: Endpoint.parse(endpoint) for name, _equals, endpoint in pairs}


async def ask(settings: WebSettings, name: str, request: Mapping[str, object]) -> dict[str, Any]:
    """Return the answer of another gateway, or why there is none; never raise."""
    endpoint = endpoints(settings).get(name)
    if endpoint is None:
        return {"refused": "invalid", "text": f"no gateway {name!r}"}
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=context(settings.peer_file, server=False), limit=MAX_ANSWER
            )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(json.dumps({**request, "gateway": ""}).encode("ascii") + b"\n")
                await writer.drain()
                answer = json.loads(await reader.readline())
        finally:
            writer.close()
    except (OSError, ValueError, TimeoutError) as error:
        return {"refused": "unreachable", "text": f"{endpoint}: {error or 'no answer in time'}"}
    return answer if isinstance(answer, dict) else {"refused": "unreachable", "text": f"{endpoint}: not an answer"}
