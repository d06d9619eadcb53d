# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scanner, asked over real sockets: only clamd's own OK is clean, and the next clamd is asked if there is one."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from gateway_doubles import EICAR
from real_clamd import CLAMD, MISSING, RealClamd

from mailgate.config import ConfigError, Scan
from mailgate.config_file import parse_config
from mailgate.scan.clamd import CLEAN, Clamd, Finding, ScanError, Verdict, parse_answer
from mailgate.scan.scanner import Scanner, signature_age

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
VERSION = b"ClamAV 1.4.6/27456/Mon Nov 16 09:23:11 2026\0"
MADE = time.mktime((2026, 11, 16, 9, 23, 11, 0, 0, -1))
BIG = os.urandom(3_000_000)


class Fake:
    """A clamd whose behaviour is a function of the connection; VERSION it knows by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version = VERSION
        self.answer = b"stream: OK\0"
        self.serve: Serve = self.whole
        self.scans = 0
        self.now = self.most = 0
        self.pause = 0.0

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self._connected, self.path)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            command = await reader.readuntil(b"\0")
            if command == b"zVERSION\0":
                writer.write(self.version)
                return
            assert command == b"zINSTREAM\0"
            self.scans += 1
            self.now += 1
            self.most = max(self.most, self.now)
            await self.serve(reader, writer)
            self.now -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def stream(self, reader: asyncio.StreamReader) -> bytes:
        stream = bytearray()
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            stream += await reader.readexactly(size)
        return bytes(stream)

    async def whole(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.stream(reader)
        await asyncio.sleep(self.pause)
        writer.write(self.answer)
        await writer.drain()


@pytest.fixture
async def pair(tmp_path) -> AsyncIterator[tuple[Fake, Fake]]:
    fakes = (Fake(tmp_path / "1"), Fake(tmp_path / "2"))
    for fake in fakes:
        await fake.start()
    yield fakes
    for fake in fakes:
        fake.server.close()


class House:
    """A scanner with its events and a clock."""

    def __init__(self, *fakes: Fake, **settings: object) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        paths = [str(fake.path) for fake in fakes]
        self.now = MADE + 86400
        self.scanner = Scanner(
            Scan(
                **{
                    "socket": paths[0],
                    "other_sockets": tuple(paths[1:]),
                    "signature_dir": "",
                    "file_size": 0,
                    **settings,
                }
            ),
            lambda event, **fields: self.events.append((event, fields)),
            lambda: self.now,
        )

    async def scan(self, *pieces: bytes, seconds: float = 3) -> Verdict:
        return await self.scanner.scan(pieces, asyncio.get_running_loop().time() + seconds)


async def dies_at_once(reader, writer):
    pass


async def dies_in_the_stream(reader, writer):
    await reader.readexactly(1000)
    writer.transport.abort()


async def dies_after_the_stream(reader, writer):
    await Fake.stream(None, reader)


async def says_ok_before_the_end(reader, writer):
    await reader.readexactly(1000)
    writer.write(b"stream: OK\0")
    await writer.drain()
    await reader.read()


async def says_ok_and_hangs_up_in_the_stream(reader, writer):
    await reader.readexactly(1000)
    writer.write(b"stream: OK\0")


async def says_half_and_waits(reader, writer):
    await Fake.stream(None, reader)
    writer.write(b"stream: OK")
    await asyncio.sleep(30)


async def does_not_hang_up(reader, writer):
    await Fake.stream(None, reader)
    writer.write(b"stream: OK\0")
    await asyncio.sleep(30)


async def answers_twice(reader, writer):
    await Fake.stream(None, reader)
    writer.write(b"stream: OK\0")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.write(b"stream: Eicar FOUND\0")


async def never_answers(reader, writer):
    await Fake.stream(None, reader)
    await asyncio.sleep(30)


async def never_reads(reader, writer):
    await asyncio.sleep(30)


async def floods(reader, writer):
    await Fake.stream(None, reader)
    writer.write(b"stream: " + b"x" * 100_000)


BAD = [
    dies_at_once, dies_in_the_stream, dies_after_the_stream, says_ok_before_the_end, says_ok_and_hangs_up_in_the_stream,
    says_half_and_waits, does_not_hang_up, answers_twice, never_answers, never_reads, floods,
]  # fmt: skip


@pytest.mark.parametrize("behaviour", BAD)
async def test_what_is_no_clean_answer_is_no_verdict(pair, behaviour):
    pair[0].serve = behaviour
    house = House(pair[0])
    with pytest.raises(ScanError):
        await house.scan(BIG, seconds=0.5)
    assert len(house.scanner.cache) == 0


@pytest.mark.parametrize("behaviour", BAD)
async def test_the_next_clamd_is_asked_instead(pair, behaviour):
    pair[0].serve = behaviour
    house = House(*pair)
    assert await house.scan(BIG, seconds=1) == CLEAN
    assert [event for event, _ in house.events] == ["scanner_failed"]
    assert await house.scan(b"another", seconds=1) == CLEAN
    assert (pair[0].scans, pair[1].scans) == (1, 2), "one that failed is not asked first again for a while"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"stream: OK\0", CLEAN),
        (b"stream: Win.Worm-1 FOUND\0", Verdict(Finding.INFECTED, "Win.Worm-1")),
        (b"stream: Heuristics.Encrypted.Zip FOUND\0", Verdict(Finding.ENCRYPTED, "Heuristics.Encrypted.Zip")),
        (
            b"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND\0",
            Verdict(Finding.OVER_LIMITS, "Heuristics.Limits.Exceeded.MaxRecursion"),
        ),
        (
            b"stream: Heuristics.Limits.Exceeded.MaxScanTime FOUND\0",
            Verdict(Finding.OVER_LIMITS, "Heuristics.Limits.Exceeded.MaxScanTime"),
        ),
        (b"INSTREAM size limit exceeded. ERROR\0", Verdict(Finding.OVER_LIMITS, "StreamMaxLength")),
    ],
)
async def test_verdicts(pair, answer, verdict):
    pair[0].answer = answer
    assert await House(pair[0]).scan(b"x") == verdict


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\0", b"stream: OK", b"stream: OK\0\0", b"stream: OK\n", b"stream: ok\0", b"1: stream: OK\0", b"OK\0",
        b"stream: FOUND\0", b"stream: x ERROR\0", b"COMMAND READ TIMED OUT\0", b"UNKNOWN COMMAND\0", b"\xff\0",
        b"stream: Can't allocate memory ERROR\0", b"stream: OK\0stream: x FOUND\0", b"PONG\0",
    ],
)  # fmt: skip
def test_answers_that_are_no_verdict(answer):
    with pytest.raises(ScanError):
        parse_answer(answer)


async def test_stream_over_clamds_limit_is_said_so_though_clamd_hangs_up_in_the_middle(pair):
    async def too_big(reader, writer):
        await reader.readexactly(1000)
        writer.write(b"INSTREAM size limit exceeded. ERROR\0")
        await writer.drain()

    pair[0].serve = too_big
    assert await House(pair[0]).scan(BIG) == Verdict(Finding.OVER_LIMITS, "StreamMaxLength")


async def test_every_octet_reaches_clamd_in_order(pair):
    got = []

    async def keep(reader, writer):
        got.append(await pair[0].stream(reader))
        writer.write(b"stream: OK\0")

    pair[0].serve = keep
    house = House(pair[0], remembered=0)
    for pieces in ((b"",), (b"a", b"", b"b"), (b"head", BIG, b"tail"), ()):
        await house.scan(*pieces)
        assert got.pop() == b"".join(pieces)


async def test_scanner_down_or_restarting(pair, tmp_path):
    pair[0].server.close()
    pair[0].path.unlink(missing_ok=True)
    house = House(pair[0])
    with pytest.raises(ScanError, match="connection failed"):
        await house.scan(b"x")
    await pair[0].start()
    assert await house.scan(b"x") == CLEAN


async def test_tcp(pair):
    server = await asyncio.start_server(pair[0]._connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pair[0].path = Path(f"127.0.0.1:{port}")
    assert await House(pair[0]).scan(BIG) == CLEAN
    server.close()


async def test_scans_at_a_time_are_bounded_and_spread_by_load(pair):
    for fake in pair:
        fake.pause = 0.05
    house = House(*pair, concurrency=3, order="load", remembered=0)
    await asyncio.gather(*(house.scan(b"%d" % number) for number in range(24)))
    assert [fake.most for fake in pair] == [3, 3]
    assert abs(pair[0].scans - pair[1].scans) <= 2
    house = House(*pair, concurrency=3, remembered=0)
    await asyncio.gather(*(house.scan(b"%d" % number) for number in range(6)))
    assert pair[0].scans + pair[1].scans == 30
    assert pair[0].scans >= 17


async def test_waiting_for_a_turn_counts_against_the_deadline(pair):
    pair[0].pause = 0.4
    house = House(pair[0], concurrency=1, remembered=0)
    results = await asyncio.gather(*(house.scan(b"%d" % n, seconds=0.6) for n in range(3)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ScanError", "ScanError", "Verdict"]


async def test_settings_may_change_while_scans_run(pair):
    pair[0].pause = 0.2
    house = House(pair[0], concurrency=1, remembered=0)
    first = asyncio.create_task(house.scan(b"1"))
    await asyncio.sleep(0.05)
    house.scanner.use(Scan(socket=str(pair[0].path), concurrency=1, remembered=0, file_size=0))
    assert await house.scan(b"2") == CLEAN
    assert await first == CLEAN
    assert pair[0].most == 1


async def test_same_octets_are_scanned_once_while_the_signatures_stay(pair):
    for content in (b"small", BIG):
        house = House(pair[0])
        pair[0].scans, pair[0].version = 0, VERSION
        assert await house.scan(content) == await house.scan(content) == CLEAN
        assert pair[0].scans == 1
        pair[0].version = VERSION.replace(b"27456", b"27457")
        pair[0].answer = b"stream: New FOUND\0"
        assert (await house.scan(content)).name == "New"
        assert pair[0].scans == 2
        assert (await house.scan(content)).name == "New"
        assert pair[0].scans == 2
        pair[0].answer = b"stream: OK\0"


async def test_new_files_among_the_signatures_void_verdicts_until_clamd_must_have_read_them(pair, tmp_path):
    (tmp_path / "db").mkdir()
    house = House(pair[0], signature_dir=str(tmp_path / "db"))
    house.now = time.time() + 1000
    await house.scan(b"x")
    await house.scan(b"x")
    assert pair[0].scans == 1
    (tmp_path / "db" / "own.ndb").write_text("x")
    house.now = time.time() + 10
    await house.scan(b"x")
    await house.scan(b"x")
    assert pair[0].scans == 3, "clamd may not have read it yet"
    house.now += 1000
    await house.scan(b"x")
    await house.scan(b"x")
    assert pair[0].scans == 4


async def test_octets_with_the_same_ends_are_not_taken_for_one_another(pair):
    house = House(pair[0])
    one, two = BIG[:50_000] + b"1" + BIG[50_000:], BIG[:50_000] + b"2" + BIG[50_000:]
    assert await house.scan(one) == CLEAN
    pair[0].answer = b"stream: X FOUND\0"
    assert (await house.scan(two)).name == "X"


async def test_verdicts_void_by_time_signatures_unknown_or_limits(pair):
    for version, settings, answer in (
        (VERSION, {"remembered": 0}, b"stream: OK\0"),
        (VERSION, {"remembered_minutes": 0}, b"stream: OK\0"),
        (b"rubbish", {}, b"stream: OK\0"),
        (VERSION, {}, b"stream: Heuristics.Limits.Exceeded.MaxScanTime FOUND\0"),
    ):
        house, pair[0].version, pair[0].answer, pair[0].scans = House(pair[0], **settings), version, answer, 0
        await house.scan(b"x")
        await house.scan(b"x")
        assert pair[0].scans == 2


async def test_signatures_that_change_during_the_scan_void_its_verdict(pair):
    async def reload(reader, writer):
        await pair[0].stream(reader)
        pair[0].version = VERSION.replace(b"27456", b"27457")
        writer.write(b"stream: OK\0")

    house, pair[0].serve = House(pair[0]), reload
    await house.scan(b"x")
    pair[0].serve, pair[0].answer = pair[0].whole, b"stream: X FOUND\0"
    assert (await house.scan(b"x")).name == "X"


async def test_the_least_lately_used_verdict_leaves_first(pair):
    house = House(pair[0], remembered=2)
    for content in (b"1", b"2", b"1", b"3"):
        await house.scan(content)
    pair[0].scans = 0
    await house.scan(b"1")
    assert pair[0].scans == 0
    await house.scan(b"2")
    assert pair[0].scans == 1


@pytest.mark.parametrize(
    ("version", "days", "reason"),
    [
        (VERSION, 1, None),
        (VERSION, 7.5, "signatures 8 days old"),
        (b"ClamAV 1.4.6\0", 1, "no signatures of the ClamAV project"),
        (b"ClamAV 1.4.6/1/not a date\0", 1, "no signatures of the ClamAV project"),
        (b"rubbish\0", 1, "age of the signatures unknown"),
    ],
)
@pytest.mark.parametrize("policy", ["deliver", "defer"])
async def test_old_signatures_raise_an_alarm_and_by_policy_stop_mail(pair, version, days, reason, policy):
    pair[0].version = version
    house = House(pair[0], old_signatures=policy)
    house.now = MADE + days * 86400
    for number in range(2):
        if reason and policy == "defer":
            with pytest.raises(ScanError, match=reason):
                await house.scan(b"%d" % number)
        else:
            assert await house.scan(b"%d" % number) == CLEAN
    alarms = [fields["reason"] for event, fields in house.events if event == "signatures_old"]
    assert alarms == ([reason] if reason else [])
    quiet = House(pair[0], max_signature_days=0, old_signatures=policy)
    assert await quiet.scan(b"x") == CLEAN
    assert quiet.events == []


async def test_old_signatures_stop_remembered_verdicts_too(pair):
    house = House(pair[0], old_signatures="defer")
    assert await house.scan(b"x") == CLEAN
    house.now += 30 * 86400
    with pytest.raises(ScanError, match="31 days old"):
        await house.scan(b"x")


async def test_first_scans_of_all_wait_for_the_age_of_the_signatures(pair):
    house = House(pair[0], old_signatures="defer")
    assert await asyncio.gather(*(house.scan(b"%d" % number) for number in range(5))) == [CLEAN] * 5


def test_age_of_signatures():
    assert signature_age(VERSION[:-1].decode(), MADE + 5) == 5
    assert signature_age(VERSION[:-1].decode(), MADE - 5) == 0
    assert signature_age("ClamAV 1.4.6", MADE) is None


@pytest.mark.parametrize("socket", ["clamd.ctl", "localhost:3310", "127.0.0.1", "", "127.0.0.1:99999"])
def test_addresses_of_clamd_are_checked(socket):
    with pytest.raises(ConfigError) as caught:
        parse_config(
            f'hostname = "g.example"\nroutes_file = "/r"\n[scan]\nsocket = "/ok"\nother_sockets = ["{socket}"]\n'
        )
    assert all("scan.other_sockets" in problem for problem in caught.value.problems)


class FakeOfFiles:
    """A clamd that takes open files, as one does that has them passed: in a thread, by the socket's own calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer = b"fd[10]: OK\0"
        self.seen: list[bytes] = []
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                command, handles, _flags, _address = socket.recv_fds(connection, 100, 1)
                if command == b"zVERSION\0":
                    connection.sendall(VERSION)
                    continue
                self.seen.append(command + os.pread(handles[0], 1 << 20, 0))
                os.close(handles[0])
                connection.sendall(self.answer)

    def stop(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(5)


@pytest.fixture
def taker(tmp_path) -> Iterator[FakeOfFiles]:
    fake = FakeOfFiles(tmp_path / "files")
    yield fake
    fake.stop()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_small_message_is_handed_over_as_a_file(taker):
    house = House(taker, file_size=11)  # type: ignore[arg-type]
    assert await house.scan(b"hello ", b"there") == CLEAN
    assert taker.seen == [b"zFILDES\0\0hello there"]
    handles = open_files()
    for _ in range(5):
        await house.scan(b"hello")
    assert open_files() == handles


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"fd[7]: Eicar FOUND\0", Verdict(Finding.INFECTED, "Eicar")),
        (b"fd[7]: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0", Finding.OVER_LIMITS),
        (b"fd[7]: Heuristics.Encrypted.Zip FOUND\0", Finding.ENCRYPTED),
        *((wrong, None) for wrong in (
            b"", b"stream: OK\0", b"fd[]: OK\0", b"fd[7]: OK", b"fd[7]: ok\0", b"fd[7]: OK\0\0", b" fd[7]: OK\0",
            b"fd[7]: OK\0fd[8]: x FOUND\0", b"fd[7]: fd[7]: OK\0", b"No file descriptor received. ERROR\0",
            b"fd[7]: Can't open file or directory ERROR\0", b"fd[7]: stream: OK\0",
        )),
    ],
)  # fmt: skip
async def test_answers_about_a_file(taker, answer, wanted):
    taker.answer = answer
    house = House(taker, file_size=1000)  # type: ignore[arg-type]
    if wanted is None:
        with pytest.raises(ScanError):
            await house.scan(b"hello")
    else:
        verdict = await house.scan(b"hello")
        assert wanted in (verdict, verdict.finding)


async def test_larger_messages_and_other_hosts_get_no_file(pair):
    assert await House(pair[0], file_size=4).scan(b"hello") == CLEAN
    assert Clamd(("127.0.0.1", 3310), 1, file_size=1000).file_size == 0


@pytest.mark.parametrize("file_size", [0, 32_768])
async def test_real_clamd_answers_what_we_think_it_does(real_clamd, file_size):
    house = House(Fake(real_clamd.socket), file_size=file_size)
    assert await house.scan(b"Subject: x\r\n\r\nhello\r\n") == CLEAN
    assert (await house.scan(b"Subject: x\r\n\r\n" + EICAR)).name.startswith("Eicar")
    assert await house.scan(b"x" * 27_262_977) == Verdict(Finding.OVER_LIMITS, "StreamMaxLength")
    assert (await house.scan(BIG)) == CLEAN
    assert [event for event, _ in house.events] == ["signatures_old"]


async def test_real_clamd_over_its_limits(tmp_path_factory):
    if not CLAMD:
        pytest.skip(MISSING)
    import io
    import zipfile

    with tempfile.TemporaryDirectory(prefix="clamd") as directory:
        clamd = RealClamd(Path(directory), MaxScanSize=2_000_000, MaxFileSize=2_000_001, MaxRecursion=3, MaxFiles=20)
        try:
            house = House(Fake(clamd.socket), file_size=32_768)
            inner = EICAR
            for _ in range(6):
                out = io.BytesIO()
                with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr("x.zip", inner)
                inner = out.getvalue()
            many, large = io.BytesIO(), io.BytesIO()
            with zipfile.ZipFile(many, "w") as archive:
                for number in range(100):
                    archive.writestr(f"{number}.txt", f"text {number}")
            with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("zeros", bytes(5_000_000))
            for octets in (inner, many.getvalue(), large.getvalue()):
                verdict = await house.scan(octets)
                assert verdict.finding is Finding.OVER_LIMITS, verdict
        finally:
            clamd.kill()


async def test_real_clamd_killed_stopped_and_reloading_never_makes_infected_clean():
    if not CLAMD:
        pytest.skip(MISSING)
    infected = b"Subject: x\r\n\r\n" + b"text\r\n" * 100_000 + EICAR + b"\r\n"
    with tempfile.TemporaryDirectory(prefix="clamd") as directory:
        clamd = RealClamd(Path(directory))
        house = House(Fake(clamd.socket), remembered=0)
        verdicts: list[object] = []
        ended = False

        async def load() -> None:
            for number in itertools.count():
                if ended:
                    return
                try:
                    verdicts.append((await house.scan(infected, b"%d" % number, seconds=0.3)).finding)
                except ScanError:
                    verdicts.append(None)
                    await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(load()) for _ in range(4)]
        try:
            for _ in range(3):
                await asyncio.sleep(0.2)
                clamd.signal(signal.SIGSTOP)
                await asyncio.sleep(0.5)
                clamd.signal(signal.SIGCONT)
                clamd.signal(signal.SIGUSR2)
                await asyncio.sleep(0.3)
                clamd.kill()
                await asyncio.sleep(0.1)
                await asyncio.to_thread(clamd.start)
            await asyncio.sleep(0.3)
        finally:
            ended = True
            await asyncio.gather(*tasks)
            clamd.kill()
        assert set(verdicts) == {None, Finding.INFECTED}


async def test_real_clamd_reloads_without_a_gap(tmp_path_factory):
    if not CLAMD:
        pytest.skip(MISSING)
    new = b"signature that comes later"
    with tempfile.TemporaryDirectory(prefix="clamd") as directory:
        clamd = RealClamd(Path(directory))
        try:
            house = House(Fake(clamd.socket), signature_dir=str(clamd.database))
            assert await house.scan(new) == CLEAN
            (clamd.database / "new.ndb").write_text(f"New.Signature:0:*:{new.hex()}\n")
            clamd.signal(signal.SIGUSR2)
            verdicts = []
            for _ in range(600):
                verdicts.append((await house.scan(new)).finding)
                if verdicts[-1] is Finding.INFECTED:
                    break
                await asyncio.sleep(0.005)
            assert verdicts[-1] is Finding.INFECTED, "and no verdict was missing: each scan had an answer"
        finally:
            clamd.kill()
