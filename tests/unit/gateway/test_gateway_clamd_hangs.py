# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real clamd that is stopped (SIGSTOP) under load: senders hear 451 in time, all else goes on, mail flows again."""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import signal
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_doubles import EICAR, Campus, Client
from real_clamd import CLAMD, MISSING, RealClamd

from mailgate.config import Limits, Scan, Timeouts

# Well above what the next hop's and the queue's own deadlines add; the scan's is what counts here.
SCAN_SECONDS = 1
LIMITS = Limits(max_connections_per_client=100)
TIMEOUTS = Timeouts(connect=2, next_hop_command=2, next_hop_data=2, session_idle=0, queue=2, scan=SCAN_SECONDS)
SIZE = 300_000
# Handed to clamd as an open file, and as a stream.
SIZES = (3000, SIZE)
HELLO = b"Subject: x\r\n\r\nHello.\r\n"

MakeCampus = Callable[..., Awaitable[Campus]]


@pytest.fixture
def clamds() -> Iterator[list[RealClamd]]:
    """Two of them, each of which the test may stop."""
    if not CLAMD:
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(prefix="c") as directory:
        found = []
        for name in ("1", "2"):
            (Path(directory) / name).mkdir()
            found.append(RealClamd(Path(directory) / name))
        yield found
        for clamd in found:
            clamd.kill()


def letter(infected: bool, size: int = SIZE) -> bytes:
    """A message that clamd has never seen."""
    text = base64.encodebytes(os.urandom(size)).replace(b"\n", b"\r\n")
    return b"Subject: x\r\n\r\n" + (EICAR if infected else b"Hello") + b"\r\n" + text


async def deliver(campus: Campus, content: bytes) -> tuple[str, float]:
    """The answer to a message of a connection of its own, and the seconds that it took."""
    client = await campus.connect()
    assert (await client.start("alice@a.univ.example"))[0].startswith("250")
    started = time.monotonic()
    answer = await client.send(content)
    seconds = time.monotonic() - started
    await leave(campus, client)
    return answer, seconds


async def leave(campus: Campus, client: Client) -> None:
    await client.say("QUIT")
    client.writer.close()
    campus.clients.remove(client)


async def refused_at_rcpt(campus: Campus) -> float:
    """Seconds from a connection to the refusal of a relay attempt and of an unknown recipient."""
    started = time.monotonic()
    client = await campus.connect()
    relay, unknown = await client.start("x@elsewhere.example", "nobody@b.univ.example")
    assert relay.startswith("550 5.7.1") and unknown.startswith("550 5.1.1")
    seconds = time.monotonic() - started
    await leave(campus, client)
    return seconds


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


async def settled(campus: Campus) -> None:
    """All sessions and transactions have ended."""
    gateway = campus.gateway
    for _ in range(200):
        if not gateway.sessions and not gateway.tasks and not gateway.delivery.pool.open:
            break
        await asyncio.sleep(0.02)
    assert not gateway.sessions and not gateway.tasks
    assert gateway.worker_counters.connections == gateway.budget.used == gateway.delivery.pool.open == 0
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("size", SIZES)
async def test_senders_are_put_off_in_time_and_all_else_goes_on(
    make_campus: MakeCampus, clamds: list[RealClamd], size: int
):
    clamd = clamds[0]
    campus = await make_campus(timeouts=TIMEOUTS, limits=LIMITS, scan=Scan(socket=str(clamd.socket)))
    campus.b.rcpt = lambda _: "550 5.1.1 unknown"
    for _ in range(3):
        assert (await deliver(campus, letter(infected=False, size=size)))[0].startswith("250")
    await refused_at_rcpt(campus)
    await settled(campus)
    campus.a.received.clear()
    tracemalloc.start()
    try:
        gc.collect()
        memory, open_before = tracemalloc.get_traced_memory()[0], handles()
        clamd.signal(signal.SIGSTOP)
        # More than are scanned at a time, so that some wait for their turn.
        load = [asyncio.create_task(deliver(campus, letter(infected=n % 2 == 0, size=size))) for n in range(14)]
        await asyncio.sleep(SCAN_SECONDS / 2)
        assert not any(task.done() for task in load)
        assert await refused_at_rcpt(campus) < SCAN_SECONDS / 3
        answers = await asyncio.gather(*load)
        assert {answer[:9] for answer, _seconds in answers} == {"451 4.7.0"}
        assert max(seconds for _answer, seconds in answers) < SCAN_SECONDS + 1
        assert not campus.a.received and not campus.queue.received, "nothing passes unscanned"
        await settled(campus)
        assert handles() <= open_before
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < memory + 2 * SIZE
    finally:
        tracemalloc.stop()
        clamd.signal(signal.SIGCONT)
    # What clamd still has of the others' messages is before us in its line.
    assert (await deliver(campus, HELLO))[0].startswith("250")
    assert (await deliver(campus, letter(infected=True, size=size)))[0].startswith("554")
    assert len(campus.a.received) == 1


async def test_with_a_second_clamd_mail_flows_on(make_campus: MakeCampus, clamds: list[RealClamd]):
    scan = Scan(socket=str(clamds[0].socket), other_sockets=(str(clamds[1].socket),))
    campus = await make_campus(timeouts=replace(TIMEOUTS, scan=2), limits=LIMITS, scan=scan)
    scanner = campus.gateway.scanner
    clamds[0].signal(signal.SIGSTOP)
    try:
        first = await asyncio.gather(*(deliver(campus, letter(infected=n == 0)) for n in range(6)))
        assert sorted(answer[:3] for answer, _seconds in first) == ["250"] * 5 + ["554"]
        # Found out: from now on it holds nobody up, also when it is tried again.
        for server in scanner._servers:
            server.down_until = 0.0
        started = time.monotonic()
        later = [asyncio.create_task(deliver(campus, letter(infected=False))) for _ in range(6)]
        done, _rest = await asyncio.wait(later, timeout=0.7)
        assert len(done) >= 5, "one message at most waits while it is tried again"
        assert {(await task)[0][:3] for task in later} == {"250"}
        assert time.monotonic() - started < 3
    finally:
        clamds[0].signal(signal.SIGCONT)
    for server in scanner._servers:
        server.down_until = 0.0
    assert (await deliver(campus, HELLO))[0].startswith("250")
    assert not scanner._servers[0].failed, "and is used again when it answers"
    assert len(campus.a.received) == 12
