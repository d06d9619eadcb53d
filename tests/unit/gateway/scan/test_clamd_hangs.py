# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real clamd that hangs: senders get 451 in time, everything else continues."""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import signal
import tempfile
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateway_doubles import EICAR, PATIENT, Campus, Client, wait_for
from real_clamd import CLAMD, MISSING, RealClamd

from mailgate.config import Limits, Scan
from mailgate.scan.clamd import Verdict
from mailgate.scan.scanner import Scanner

# The scan timeout while clamd hangs.
SCAN_SECONDS = 3


DOWN_SECONDS = 0.2


LIMITS = Limits(max_connections_per_client=100)


SIZE = 300_000


# Passed to clamd as an open file, and as a stream.
SIZES = (3000, SIZE)


HELLO = b"Subject: x\r\n\r\nHello.\r\n"


MakeCampus = Callable[..., Awaitable[Campus]]


@pytest.fixture
def clamds() -> Iterator[list[RealClamd]]:
    """Two clamd servers that the test may stop."""
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


def new_message(infected: bool, size: int = SIZE) -> bytes:
    """Return a message that clamd has not scanned before."""
    text = base64.encodebytes(os.urandom(size)).replace(b"\n", b"\r\n")
    return b"Subject: x\r\n\r\n" + (EICAR if infected else b"Hello") + b"\r\n" + text


async def deliver(campus: Campus, content: bytes) -> str:
    """Send a message over a new connection; return the reply."""
    client = await campus.connect()
    assert (await client.start("alice@a.univ.example"))[0].startswith("250")
    answer = await client.send(content)
    await leave(campus, client)
    return answer


def set_scan_seconds(campus: Campus, seconds: int) -> None:
    config = campus.gateway.config
    campus.gateway.use(replace(config, timeouts=replace(config.timeouts, scan=seconds)), campus.gateway.routes)


async def leave(campus: Campus, client: Client) -> None:
    await client.say("QUIT")
    client.writer.close()
    campus.clients.remove(client)


async def refused_at_rcpt(campus: Campus) -> None:
    """Have a relay attempt and an unknown recipient rejected."""
    client = await campus.connect()
    relay, unknown = await client.start("x@elsewhere.example", "nobody@b.univ.example")
    assert relay.startswith("550 5.7.1") and unknown.startswith("550 5.1.1")
    await leave(campus, client)


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


async def settled(campus: Campus) -> None:
    """Wait until all sessions and transactions have ended."""
    gateway = campus.gateway
    await wait_for(lambda: not gateway.sessions and not gateway.delivery.pool.open)
    assert gateway.worker_counters.connections == gateway.budget.used == gateway.delivery.pool.open == 0


@pytest.mark.slow
class TestHanging:
    @pytest.mark.parametrize("size", SIZES)
    async def test_senders_are_deferred_in_time(
        self, make_campus: MakeCampus, clamds: list[RealClamd], size: int, monkeypatch: pytest.MonkeyPatch
    ):
        late: list[float] = []  # seconds from the time at which a verdict is due to its end
        scan = Scanner.scan

        async def timed(self: Scanner, pieces: Sequence[bytes], deadline: float, known: bytes = b"") -> Verdict:
            try:
                return await scan(self, pieces, deadline, known)
            finally:
                late.append(asyncio.get_running_loop().time() - deadline)

        clamd = clamds[0]
        campus = await make_campus(limits=LIMITS, scan=Scan(socket=str(clamd.socket)))
        campus.b.rcpt = lambda _: "550 5.1.1 unknown"
        for _ in range(3):
            assert (await deliver(campus, new_message(infected=False, size=size))).startswith("250")
        await refused_at_rcpt(campus)
        await settled(campus)
        campus.a.received.clear()
        monkeypatch.setattr(Scanner, "scan", timed)
        tracemalloc.start()
        try:
            gc.collect()
            memory, open_before = tracemalloc.get_traced_memory()[0], handles()
            clamd.signal(signal.SIGSTOP)
            set_scan_seconds(campus, SCAN_SECONDS)
            # More than the parallel scans, so that some have to wait.
            answers = await asyncio.gather(
                *(deliver(campus, new_message(infected=n % 2 == 0, size=size)) for n in range(14))
            )
            assert {answer[:9] for answer in answers} == {"451 4.7.0"}
            # Those that wait for a turn have no more time than the others.
            assert len(late) == 14 and max(late) < SCAN_SECONDS / 2
            assert not campus.a.received and not campus.queue.received, "nothing passes unscanned"
            await settled(campus)
            assert handles() <= open_before
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < memory + 2 * SIZE
        finally:
            tracemalloc.stop()
            clamd.signal(signal.SIGCONT)
        # clamd still has the other messages in its queue before this one.
        set_scan_seconds(campus, PATIENT.scan)
        assert (await deliver(campus, HELLO)).startswith("250")
        assert (await deliver(campus, new_message(infected=True, size=size))).startswith("554")
        assert len(campus.a.received) == 1

    async def test_others_do_not_wait_for_the_scans(self, make_campus: MakeCampus, clamds: list[RealClamd]):
        clamd = clamds[0]
        campus = await make_campus(limits=LIMITS, scan=Scan(socket=str(clamd.socket)))
        campus.b.rcpt = lambda _: "550 5.1.1 unknown"
        clamd.signal(signal.SIGSTOP)
        try:
            load = [asyncio.create_task(deliver(campus, new_message(infected=n % 2 == 0))) for n in range(14)]
            await wait_for(lambda: campus.gateway.budget.used > 14 * SIZE)
            await refused_at_rcpt(campus)
            assert not any(task.done() for task in load)
        finally:
            clamd.signal(signal.SIGCONT)
        assert sorted([answer[:3] for answer in await asyncio.gather(*load)]) == ["250"] * 7 + ["554"] * 7

    async def test_a_second_clamd_keeps_mail_flowing(
        self, make_campus: MakeCampus, clamds: list[RealClamd], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("mailgate.scan.scanner.DOWN_SECONDS", DOWN_SECONDS)
        trials = [0]  # how many messages try the failed clamd again, at each change
        probe = Scanner._probe

        async def counted(*arguments: Any) -> None:
            trials.append(trials[-1] + 1)
            try:
                await probe(*arguments)
            finally:
                trials.append(trials[-1] - 1)

        monkeypatch.setattr(Scanner, "_probe", staticmethod(counted))
        scan = Scan(socket=str(clamds[0].socket), other_sockets=(str(clamds[1].socket),))
        campus = await make_campus(timeouts=replace(PATIENT, scan=6), limits=LIMITS, scan=scan)
        clamds[0].signal(signal.SIGSTOP)
        try:
            first = await asyncio.gather(
                *(deliver(campus, new_message(infected=n == 0, size=SIZES[0])) for n in range(6))
            )
            assert sorted(answer[:3] for answer in first) == ["250"] * 5 + ["554"]
            # From now on it delays no other message, also when it is tried again.
            await asyncio.sleep(DOWN_SECONDS)
            # A message that a busy machine delays past the first trial is not to begin a second one.
            monkeypatch.setattr("mailgate.scan.scanner.DOWN_SECONDS", 60)
            later = await asyncio.gather(
                *(deliver(campus, new_message(infected=False, size=SIZES[0])) for _ in range(6))
            )
            assert {answer[:3] for answer in later} == {"250"}
            assert max(trials) == 1, "one message at most waits while it is tried again"
        finally:
            clamds[0].signal(signal.SIGCONT)
        campus.gateway.scanner._servers[0].down_until = 0.0
        assert (await deliver(campus, HELLO)).startswith("250")
        clamds[1].signal(signal.SIGSTOP)
        try:
            assert (await deliver(campus, HELLO)).startswith("250"), "the first is used again"
        finally:
            clamds[1].signal(signal.SIGCONT)
        assert len(campus.a.received) == 13
