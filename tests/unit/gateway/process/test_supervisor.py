# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as a process: start, reload, stop, crash."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys

import pytest
from gateway_doubles import PATIENCE, Client, Hop, wait_for
from service_process import ON_UVLOOP, Running, alive, connect, free_port, serving, write_settings

from mailgate.admission import MIN_IDLE_SECONDS, SWEEP_SECONDS
from mailgate.config import Endpoint
from mailgate.process.supervisor import KEEPALIVE, listening_socket


class TestService:
    async def test_start_reload_and_stop(self, pyz, tmp_path):
        async with serving(pyz, tmp_path) as (service, hop, port):
            status = await service.until("READY=1")
            assert "1 routes" in status
            assert "workers, uvloop" in status if ON_UVLOOP else "asyncio; uvloop is not installed" in status
            await service.until("WATCHDOG=1")
            client = await connect(port)
            assert (await client.start("x@a.example"))[0].startswith("250")

            write_settings(tmp_path, port, hop, "b.example")
            service.process.send_signal(signal.SIGHUP)
            await service.until("RELOADING=1")
            await service.until("READY=1")
            assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250"), "the session outlives the reload"
            assert (await client.start("x@a.example"))[0].startswith("450 4.4.4"), "a removed domain is deferred"
            assert (await client.say("RCPT TO:<x@c.example>")).startswith("550 5.7.1")
            assert (await client.say("RCPT TO:<x@b.example>")).startswith("250")

            (tmp_path / "routes").write_text("nonsense\n")
            service.process.send_signal(signal.SIGHUP)
            await service.until("settings refused")
            assert (await client.say("RCPT TO:<y@b.example>")).startswith("250"), "the old routes stay"

            service.process.send_signal(signal.SIGTERM)
            await service.until("STOPPING=1")
            with pytest.raises(ConnectionError):
                await connect(port)
            assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250"), "what has begun is finished"
            assert (await client.reply()).startswith("421 4.3.2")
            out = await service.ended()
            assert service.process.returncode == 0
            assert '"event": "reload_refused"' in out
            assert ('"event_loop": "uvloop' if ON_UVLOOP else '"event_loop": "asyncio; ') in out
            assert '"event": "routes_removed", "number": 1, "domains": ["a.example"]' in out
            assert len(hop.received) == 2

    @pytest.mark.parametrize("whole", [False, True])
    async def test_a_kill_during_delivery_loses_no_acknowledged_message(self, pyz, tmp_path, whole):
        async with serving(pyz, tmp_path) as (service, hop, port):
            await service.until("READY=1")
            workers = service.workers()

            async def kill() -> None:
                if whole:
                    service.process.kill()
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)

            hop.before_final = kill
            client = await connect(port)
            await client.start("x@a.example")
            with pytest.raises((EOFError, ConnectionError)):
                await client.send(b"Subject: x\r\n\r\n")
            if not whole:
                hop.before_final = None
                client = await connect(port)
                await client.start("x@a.example")
                assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250"), "others take their place"
                assert not set(workers) & set(service.workers())
                assert len(service.workers()) == 2

    async def test_ready_with_168_routes(self, pyz, tmp_path):
        """The time that it takes is measured by bench.startup."""
        write_settings(tmp_path, free_port(), Hop(), "a.example")
        (tmp_path / "routes").write_text("".join(f"d{n}.example\t198.18.{n}.1\n" for n in range(168)))
        service = Running(pyz, tmp_path)
        assert "168 routes" in await service.until("READY=1")
        service.process.terminate()
        await service.ended()

    @pytest.mark.parametrize(
        ("change", "status", "named"),
        [
            (("127.0.0.1:", "127.0.0.1:99"), 2, "listen"),
            (("state_dir = ", "state_dirr = "), 2, "state_dirr"),
            (('state_dir = "', 'state_dir = "/nonexistent'), 1, "cannot use the state directory"),
            (("127.0.0.1:", "198.18.255.255:"), 1, "listen: 198.18.255.255"),
        ],
    )
    async def test_invalid_settings_are_named_at_the_start(self, pyz, tmp_path, change, status, named):
        write_settings(tmp_path, free_port(), Hop(), "a.example")
        settings = tmp_path / "mailgate.toml"
        (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
        settings.write_text(settings.read_text().replace(*change, 1))
        result = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-I", "-S", str(pyz), "serve", "--config", str(settings)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert result.returncode == status
        assert named in result.stderr
        assert "Traceback" not in result.stderr


class TestWorkers:
    async def test_all_workers_serve_on_one_port_and_count_together(self, pyz, tmp_path):
        async with serving(pyz, tmp_path, "[limits]\nmax_connections_per_client = 6\n") as (service, _hop, port):
            await service.until("READY=1")
            clients = [await connect(port) for _ in range(6)]
            for client in clients:
                await client.start("x@a.example")
                assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
            one_more = Client(*await asyncio.open_connection("127.0.0.1", port))
            assert (await one_more.reply()).startswith("421 4.7.0"), "the limit is the service's, not a worker's"
            for client in clients:
                await client.say("QUIT")
            await connect(port)

    async def test_an_idle_client_of_another_worker_gives_way(self, pyz, tmp_path):
        """One worker has all places; the other one, for instance since it was restarted, has none."""
        async with serving(pyz, tmp_path, "[limits]\nmax_connections = 8\n") as (service, _hop, port):
            await service.until("READY=1")
            without, full = service.workers()
            os.kill(without, signal.SIGSTOP)
            addresses = [f"127.0.{number}.1" for number in range(1, 9)]
            idle = [Client(*await asyncio.open_connection("127.0.0.1", port, local_addr=(a, 0))) for a in addresses]
            for client in idle:
                assert (await client.reply()).startswith("220")
            await asyncio.sleep(MIN_IDLE_SECONDS + 2 * SWEEP_SECONDS)
            os.kill(full, signal.SIGSTOP)
            os.kill(without, signal.SIGCONT)
            client = await connect(port)
            assert (await client.start("x@a.example"))[0].startswith("250")
            os.kill(full, signal.SIGCONT)
            assert (await idle[0].reply()).startswith("421 4.3.2")
            assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")

    def test_connections_have_tcp_keepalive(self):
        with listening_socket(Endpoint("127.0.0.1", 0)) as listening:
            with socket.create_connection(listening.getsockname()):
                select.select([listening], [], [], PATIENCE)
                accepted, _peer = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                for option, value in KEEPALIVE.items():
                    assert accepted.getsockopt(socket.IPPROTO_TCP, option) == value

    async def test_a_flood_of_refused_connections_hides_no_message(self, pyz, tmp_path):
        async with serving(pyz, tmp_path, "[limits]\nmax_connections_per_client = 2\n") as (service, _hop, port):
            await service.until("READY=1")
            kept = [await connect(port) for _ in range(2)]
            for _ in range(300):
                refused = Client(*await asyncio.open_connection("127.0.0.1", port))
                assert (await refused.reply()).startswith("421 4.7.0")
                refused.writer.close()
            for client in kept:
                await client.start("x@a.example")
                assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
            service.process.terminate()
            lines = [json.loads(line) for line in (await service.ended()).splitlines()]
        refusals = [line for line in lines if line["event"] == "connection_refused"]
        assert sum(line.get("suppressed", 1) for line in refusals) == 300
        assert any("suppressed" in line for line in refusals)
        assert sum(line["event"] == "message" for line in lines) == 2

    async def test_workers_end_with_their_supervisor(self, pyz, tmp_path):
        hop = Hop()
        await hop.start()
        write_settings(tmp_path, free_port(), hop, "a.example")
        service = Running(pyz, tmp_path)
        await service.until("READY=1")
        workers = service.workers()
        service.process.kill()
        service.process.wait()
        await wait_for(lambda: not alive(workers))
        hop.stop()
