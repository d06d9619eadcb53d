# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker in the process of the test."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

from gateway_doubles import Client

from mailgate.config import Config, Endpoint, Timeouts
from mailgate.process.worker import Worker
from mailgate.routes import parse_routes
from mailgate.state import EVENTS
from mailgate.worker_counters import WorkerCounters


def recorded(state: Path, name: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for file in (state / EVENTS).glob("*.jsonl") for line in file.read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


async def test_connections_that_a_stop_does_not_wait_for_are_in_the_events(tmp_path):
    config = Config(
        hostname="gw1.univ.example",
        routes_file=tmp_path / "routes",
        state_dir=tmp_path,
        queue=Endpoint("127.0.0.1", 1),
        timeouts=Timeouts(drain=0),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    routes = parse_routes("a.univ.example\t[127.0.0.1]:1\n")
    worker = Worker(tmp_path / "unused", config, routes, WorkerCounters(), [listener])
    worker._listen()
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    assert (await client.reply()).startswith("220")
    await client.hello()
    await client.start()
    await worker._drain()
    [event] = recorded(tmp_path, "connection")
    assert event["helo"] == "sender.example"
    assert recorded(tmp_path, "worker_stopped")[0]["sessions"] == 1
    for session in worker.gateway.sessions:
        session.transport.abort()
    client.writer.close()
