# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service without file handles or disk space: mail continues, nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import resource
from pathlib import Path

import pytest
from gateway_doubles import EICAR, wait_for
from service_process import Running, connect, serving

MESSAGE = b"Subject: x\r\n\r\nHello.\r\n"


TICKS = os.sysconf("SC_CLK_TCK")


def limit(service: Running, kind: int, number: int) -> None:
    for worker in service.workers():
        _soft, hard = resource.prlimit(worker, kind)
        resource.prlimit(worker, kind, (number, hard))


def handles(service: Running) -> int:
    return sum(len(list(Path(f"/proc/{worker}/fd").iterdir())) for worker in service.workers())


def cpu_seconds(service: Running) -> float:
    fields = [Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split() for worker in service.workers()]
    return sum(int(words[11]) + int(words[12]) for words in fields) / TICKS


def memory(service: Running, name: str) -> list[int]:
    """Return VmRSS (now) or VmHWM (at most so far) of each worker, in bytes."""
    texts = [Path(f"/proc/{worker}/status").read_text() for worker in service.workers()]
    return [int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) * 1024 for text in texts]


async def deliver(port: int, content: bytes = MESSAGE) -> str:
    client = await connect(port)
    answer = (await client.start("x@a.example"))[0]
    if answer.startswith("250"):
        answer = await client.send(content)
    await client.say("QUIT")
    client.writer.close()
    return answer


class TestLimits:
    async def test_without_file_handles_the_service_waits(self, pyz, tmp_path):
        more = "session_idle = 0\n[limits]\nmax_connections = 1000\nmax_connections_per_client = 1000\n"
        async with serving(pyz, tmp_path, more) as (service, hop, port):
            await service.until("READY=1")
            for _ in range(4):
                assert (await deliver(port)).startswith("250")
            old = await connect(port)
            before, workers = handles(service), service.workers()
            limit(service, resource.RLIMIT_NOFILE, 60)
            crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(150)]
            await wait_for(lambda: before + 30 < handles(service))
            assert handles(service) <= 120
            used = cpu_seconds(service)
            await asyncio.sleep(1)  # the time that is measured
            assert cpu_seconds(service) - used < 0.3, "it does not turn round and round"
            assert (await old.say("NOOP")).startswith("250")
            assert (await old.start("x@elsewhere.example"))[0].startswith("550")
            assert (await old.say("RCPT TO:<x@a.example>"))[:3] in ("250", "450")
            for _reader, writer in crowd:
                writer.transport.abort()
            await wait_for(lambda: handles(service) <= before)
            assert (await deliver(port)).startswith("250")
            assert service.workers() == workers
            assert len(hop.received) == 5

    async def test_without_disk_space_the_service_loses_nothing(self, pyz, tmp_path):
        more = "session_idle = 0\n[cache]\nunknown_hours = 1\n"
        async with serving(pyz, tmp_path, more) as (service, hop, port):
            await service.until("READY=1")
            settings = tmp_path / "mailgate.toml"
            settings.write_text(settings.read_text().replace("[scan]\n", '[scan]\ninfected = "quarantine"\n'))
            os.kill(service.process.pid, 1)
            await service.until("READY=1")
            assert (await deliver(port)).startswith("250")
            # As a full disk: no file can be made longer, new ones stay empty.
            limit(service, resource.RLIMIT_FSIZE, 0)
            hop.rcpt = lambda recipient: "250 ok" if recipient.startswith("x@") else "550 5.1.1 unknown"
            for _ in range(6):
                assert (await deliver(port)).startswith("250")
            assert len(hop.received) == 7
            client = await connect(port)
            assert (await client.start("nobody@a.example"))[0].startswith("550 5.1.1")
            await client.say("QUIT")
            head = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
            infected = head + b"--b\r\n\r\nHello.\r\n--b\r\n\r\n" + EICAR + b"\r\n--b--\r\n"
            assert (await deliver(port, infected)).startswith("451 4.7.0"), "not to be kept"
            assert len(hop.received) == 7
            limit(service, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
            assert (await deliver(port)).startswith("250")
            assert (await deliver(port, infected)).startswith("250"), "kept, and delivered without"
            assert EICAR not in hop.received[-1].content


class TestMemory:
    @pytest.mark.slow
    @pytest.mark.parametrize("dotted", [False, True])
    async def test_few_copies_of_a_message_exist(self, pyz, tmp_path, monkeypatch, dotted):
        """Count the copies at the peak, with the unit's environment: 1.3, or 3.3 if lines begin with dots."""
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "4194304")
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "8388608")
        encoded = base64.encodebytes(random.Random(1).randbytes(57_000)).replace(b"\n", b"\r\n")
        head = b"Subject: x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        content = b"Subject: x\r\n\r\n" + b". A line of text.\r\n" * 1_000_000 if dotted else head + encoded * 250
        async with serving(pyz, tmp_path, "session_idle = 0\n") as (service, hop, port):
            await service.until("READY=1")
            for _ in range(4):
                assert (await deliver(port)).startswith("250")
            before = memory(service, "VmRSS")
            assert (await deliver(port, content.replace(b"\r\n.", b"\r\n.."))).startswith("250")
            growth = max(peak - rss for peak, rss in zip(memory(service, "VmHWM"), before, strict=True))
            assert len(hop.received[-1].content) > len(content)
            assert growth < (4 if dotted else 2) * len(content)
