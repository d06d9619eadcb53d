# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics and health of a whole service: real messages with SMTP, then a scrape."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_doubles import EICAR, Hop, wait_for
from scrape import get, page, scrape, scraped
from service_process import Running, alive, connect, free_port, serving, write_settings

from mailgate.commands.status import _exporter as status_of
from mailgate.config import Endpoint


def metrics_at(port: int) -> str:
    return f'[metrics]\nlisten = ["127.0.0.1:{port}"]\nqueue_directory = ""\n'


@contextlib.asynccontextmanager
async def ready(pyz: Path, directory: Path, number: int) -> AsyncIterator[tuple[Running, Hop, int]]:
    """Run the service with an exporter on port `number`."""
    async with serving(pyz, directory, metrics_at(number)) as (service, hop, port):
        await service.until("READY=1")
        yield service, hop, port


async def send(port: int, *recipients: str, content: bytes = b"Subject: x\r\n\r\nhello\r\n") -> str:
    client = await connect(port)
    await client.start(*recipients)
    reply = await client.send(content)
    await client.say("QUIT")
    return reply


class TestMetricsOfAService:
    async def test_numbers_are_those_of_the_mail(self, pyz, tmp_path):
        number = free_port()
        async with serving(pyz, tmp_path, metrics_at(number)) as (service, hop, port):
            hop.rcpt = lambda name: "550 5.1.1 unknown" if name.startswith("nobody") else "250 ok"
            await service.until("READY=1")
            replies = await asyncio.gather(*(send(port, "x@a.example", "y@a.example") for _ in range(8)))
            assert all(reply.startswith("250") for reply in replies)
            client = await connect(port)
            refused = await client.start("x@elsewhere.example", "nobody@a.example")
            assert [reply[:3] for reply in refused] == ["550", "550"]
            assert (await client.say("NONSENSE"))[:1] == "5"
            await client.say("QUIT")
            found = await scraped(number, lambda now: now["mailgate_connections_total", ("served",)] == 9)

            assert found["mailgate_messages_total", ("accepted",)] == 8
            assert found["mailgate_messages_total", ("refused",)] == 0
            assert found["mailgate_recipients_total", ("server",)] == 16
            assert found["mailgate_deliveries_total", ("server", "accepted")] == 8
            assert found["mailgate_refusals_total", ("relay", "", "550")] == 1
            assert found["mailgate_refusals_total", ("recipient", "", "550")] == 1
            for stage, wanted in (("message", 8), ("scan", 8), ("delivery", 8), ("verify", 17), ("dns", 0)):
                assert found["mailgate_stage_seconds_count", (stage,)] == wanted, stage
                assert found["mailgate_stage_seconds_bucket", (stage, "+Inf")] == wanted
            assert 0 < found["mailgate_stage_seconds_sum", ("scan",)] < 10
            assert found["mailgate_message_size_bytes_sum", ()] == 8 * len(b"Subject: x\r\n\r\nhello\r\n")
            assert found["mailgate_message_size_bytes_bucket", ("1024.0",)] == 8
            assert found["mailgate_workers_alive", ()] == found["mailgate_workers", ()] == 2
            assert found["mailgate_ready", ()] == 1
            assert found["mailgate_current_connections", ()] == 0
            assert found["mailgate_routes", ()] == 1
            assert found["mailgate_scanner_up", (f"{tmp_path}/clamd.ctl",)] == 1
            for name in ("supervisor", "exporter", "worker-0", "worker-1"):
                assert found["mailgate_process_resident_memory_bytes", (name,)] > 1_000_000
            probes = {labels: value for (name, labels), value in found.items() if name == "mailgate_probe_success"}
            assert set(probes.values()) == {1.0}, probes

    @pytest.mark.slow
    async def test_counters_never_go_back(self, pyz, tmp_path):
        """Neither when a worker or the exporter is killed, nor at a reload."""
        number = free_port()
        async with ready(pyz, tmp_path, number) as (service, hop, port):
            for _ in range(4):
                await send(port, "x@a.example")
            await scraped(number, lambda now: now["mailgate_messages_total", ("accepted",)] == 4)
            *workers, _exporter = service.workers()
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            await wait_for(lambda: not alive(workers))
            await send(port, "x@a.example")
            found = await scraped(number, lambda now: now["mailgate_messages_total", ("accepted",)] == 5)
            assert found["mailgate_events_total", ("worker_ended",)] == 2

            write_settings(tmp_path, port, hop, "b.example", metrics_at(number))
            service.process.send_signal(signal.SIGHUP)
            await scraped(number, lambda now: now["mailgate_events_total", ("reloaded",)] == 1)
            assert await page(number, "/ready") == (200, {"ready": True, "problems": {}}), "no connection is refused"
            client = await connect(port)
            assert [reply[:3] for reply in await client.start("x@a.example")] == ["450"], "the domain was removed"
            await client.say("QUIT")
            found = await scrape(number)
            assert found["mailgate_refusals_total", ("recipient", "", "450")] == 1
            assert found["mailgate_messages_total", ("accepted",)] == 5

            exporter = service.workers()[-1]
            os.kill(exporter, signal.SIGKILL)
            await send(port, "x@b.example")
            await scraped(number, lambda now: now["mailgate_messages_total", ("accepted",)] == 6)

    async def test_ready_until_it_drains(self, pyz, tmp_path):
        number = free_port()
        async with ready(pyz, tmp_path, number) as (service, _hop, port):
            await scraped(number, lambda now: now["mailgate_ready", ()] == 1)
            client = await connect(port)
            await client.start("x@a.example")
            exporter = service.workers()[-1]
            # As systemd does it: to all processes.
            for process in (*service.workers(), service.process.pid):
                os.kill(process, signal.SIGTERM)
            found = await scraped(number, lambda now: now["mailgate_ready", ()] == 0)
            assert found["mailgate_healthy", ("draining",)] == 0
            status, answer = await page(number, "/ready")
            assert (status, answer["problems"]) == (503, {"draining": "the service stops"})
            assert (await client.send(b"Subject: x\r\n\r\n")).startswith("250")
            await service.ended()
            assert not alive([exporter])

    async def test_health_names_what_fails(self, pyz, tmp_path):
        number = free_port()
        async with ready(pyz, tmp_path, number) as (_service, _hop, _port):
            await scraped(number, lambda now: now["mailgate_ready", ()] == 1)
            status, answer = await page(number, "/health")
            assert status == 503
            assert list(answer["problems"]) == ["queue"], "nothing listens on its port"
            assert answer["problems"]["queue"].startswith("127.0.0.1:1: ")
            check = await asyncio.to_thread(status_of, Endpoint("127.0.0.1", number))
            assert (check.ok, check.detail) == (True, "/ready answers 200")

    async def test_an_address_that_is_in_use_stops_no_mail(self, pyz, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as other:
            number = other.getsockname()[1]
            async with ready(pyz, tmp_path, number) as (service, _hop, port):
                assert (await send(port, "x@a.example")).startswith("250")
                assert len(service.workers()) == 2

    async def test_a_reload_starts_and_stops_it(self, pyz, tmp_path):
        number = free_port()
        async with serving(pyz, tmp_path) as (service, hop, port):
            await service.until("READY=1")
            assert (await send(port, "x@a.example")).startswith("250")
            assert len(service.workers()) == 2, "there is no exporter"
            write_settings(tmp_path, port, hop, "a.example", metrics_at(number))
            service.process.send_signal(signal.SIGHUP)
            await service.until("RELOADING=1")
            await service.until("READY=1")
            await send(port, "x@a.example")
            found = await scraped(number, lambda now: now["mailgate_connections_total", ("served",)] == 1)
            assert found["mailgate_messages_total", ("accepted",)] == 1, "counted since the reload"
            write_settings(tmp_path, port, hop, "a.example")
            service.process.send_signal(signal.SIGHUP)
            await service.until("RELOADING=1")
            await service.until("READY=1")
            await wait_for(lambda: len(service.workers()) == 2)
            with pytest.raises(ConnectionError):
                await scrape(number)
            assert (await send(port, "x@a.example")).startswith("250")

    async def test_scrapes_under_load(self, pyz, tmp_path):
        number = free_port()
        async with ready(pyz, tmp_path, number) as (_service, _hop, port):
            await scraped(number, lambda now: True)

            async def several() -> list[str]:
                return [await send(port, "x@a.example") for _ in range(4)]

            sending = asyncio.gather(*(several() for _ in range(10)))
            before = 0.0
            while not sending.done():
                found = await scrape(number)
                assert found["mailgate_messages_total", ("accepted",)] >= before
                before = found["mailgate_messages_total", ("accepted",)]
            assert all(reply.startswith("250") for replies in await sending for reply in replies)
            found = await scrape(number)
            assert found["mailgate_messages_total", ("accepted",)] == 40

    async def test_an_exporter_whose_supervisor_ends_while_it_starts(self, pyz, tmp_path):
        number = free_port()
        async with serving(pyz, tmp_path, metrics_at(number)) as (service, _hop, _port):
            await service.until("READY=1")
            await wait_for(lambda: len(service.workers()) == 3)
            exporter = service.workers()[-1]
            os.kill(exporter, signal.SIGSTOP)
            service.process.kill()
            service.process.wait()
            os.kill(exporter, signal.SIGCONT)
            await wait_for(lambda: not alive([exporter]))

    @pytest.mark.slow
    async def test_the_exporter_ends_with_its_supervisor(self, pyz, tmp_path):
        number = free_port()
        async with ready(pyz, tmp_path, number) as (service, _hop, _port):
            await scraped(number, lambda now: now["mailgate_ready", ()] == 1)
            children = service.workers()
            assert len(children) == 3
            service.process.kill()
            service.process.wait()
            await wait_for(lambda: not alive(children))

    async def test_viruses(self, pyz, tmp_path):
        number = free_port()
        async with ready(pyz, tmp_path, number) as (_service, _hop, port):
            await send(port, "x@a.example", content=b"Subject: x\r\n\r\n" + EICAR + b"\r\n")
            found = await scraped(number, lambda now: now["mailgate_events_total", ("message",)] == 1)
            infected = sum(
                v for (n, labels), v in found.items() if n == "mailgate_findings_total" and "infected" in labels
            )
            assert infected == 1


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_formats(pyz, tmp_path, accept):
    number = free_port()
    async with ready(pyz, tmp_path, number) as (_service, _hop, _port):
        await scraped(number, lambda now: True)
        status, kind, body = await asyncio.to_thread(get, number, "/metrics", Accept=accept)
        assert status == 200
        assert kind.startswith("application/openmetrics-text" if accept else "text/plain")
        assert body.endswith("# EOF\n") == bool(accept)
