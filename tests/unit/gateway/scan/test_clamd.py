# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""clamd's protocol: only its literal OK is clean; a real clamd."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from fake_clamd import BAD_BEHAVIOURS, EICAR, ScannerHarness, read_stream, scan_seconds
from gateway_doubles import PATIENCE, wait_for
from real_clamd import CLAMD, MISSING, RealClamd

from mailgate.scan.clamd import CLEAN, Clamd, Finding, ScanError, Verdict, parse_answer

BIG = os.urandom(3_000_000)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class TestReplies:
    @pytest.mark.parametrize("behaviour", BAD_BEHAVIOURS)
    async def test_an_incomplete_reply_is_not_a_verdict(self, pair, behaviour):
        pair[0].serve = behaviour
        harness = ScannerHarness(pair[0].path)
        with pytest.raises(ScanError):
            await harness.scan(BIG, seconds=scan_seconds(behaviour, 0.5))
        assert len(harness.scanner.cache) == 0

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
            (b"INSTREAM size limit exceeded. ERROR\0", Verdict(Finding.OVER_LIMITS, "StreamMaxLength")),
        ],
    )
    async def test_verdicts(self, pair, answer, verdict):
        pair[0].answer = answer
        assert await ScannerHarness(pair[0].path).scan(b"x") == verdict

    @pytest.mark.parametrize(
        "answer",
        [
            b"", b"\0", b"stream: OK", b"stream: OK\0\0", b"stream: OK\n", b"stream: ok\0", b"1: stream: OK\0", b"OK\0",
            b"stream: FOUND\0", b"stream: x ERROR\0", b"COMMAND READ TIMED OUT\0", b"UNKNOWN COMMAND\0", b"\xff\0",
            b"stream: Can't allocate memory ERROR\0", b"stream: OK\0stream: x FOUND\0", b"PONG\0",
        ],
    )  # fmt: skip
    def test_invalid_replies_are_not_a_verdict(self, answer):
        with pytest.raises(ScanError):
            parse_answer(answer)

    async def test_a_stream_over_clamds_limit_is_over_limits_although_clamd_closes_early(self, pair):
        async def too_big(reader, writer):
            await reader.readexactly(1000)
            writer.write(b"INSTREAM size limit exceeded. ERROR\0")
            await writer.drain()

        pair[0].serve = too_big
        assert await ScannerHarness(pair[0].path).scan(BIG) == Verdict(Finding.OVER_LIMITS, "StreamMaxLength")

    async def test_all_content_reaches_clamd_in_order(self, pair):
        got = []

        async def keep(reader, writer):
            got.append(await read_stream(reader))
            writer.write(b"stream: OK\0")

        pair[0].serve = keep
        harness = ScannerHarness(pair[0].path, remembered=0)
        for pieces in ((b"",), (b"a", b"", b"b"), (b"head", BIG, b"tail"), ()):
            await harness.scan(*pieces)
            assert got.pop() == b"".join(pieces)

    async def test_tcp(self, pair):
        pair[0].stop()
        port = await pair[0].start_tcp()
        assert await ScannerHarness(Path(f"127.0.0.1:{port}")).scan(BIG) == CLEAN


class TestOpenFiles:
    async def test_a_small_message_is_passed_as_an_open_file(self, clamd_of_files):
        harness = ScannerHarness(clamd_of_files.path, file_size=11)
        assert await harness.scan(b"hello ", b"there") == CLEAN
        assert clamd_of_files.seen == [b"zFILDES\0\0hello there"]
        handles = open_files()
        for _ in range(5):
            await harness.scan(b"hello")
        assert open_files() == handles

    async def test_a_file_that_is_written_again_has_the_new_content_only(self, clamd_of_files):
        harness = ScannerHarness(clamd_of_files.path, file_size=100_000, remembered=0)
        contents = [b"a" * 90_000, b"b", b"", b"c" * 5000, b"d" * 4096, b"e" * 90_001]
        for content in contents:
            await harness.scan(content)
        assert clamd_of_files.seen == [b"zFILDES\0\0" + content for content in contents]

    async def test_a_file_that_clamd_may_still_read_is_not_written_again(self, clamd_of_files, monkeypatch):
        closed = []
        close = os.close
        monkeypatch.setattr(os, "close", lambda handle: closed.append(handle) or close(handle))
        harness = ScannerHarness(clamd_of_files.path, file_size=1000, remembered=0)
        clamd = harness.scanner._servers[0].clamd
        await harness.scan(b"first")
        (handle,) = clamd._kept
        clamd_of_files.answer = b"fd[7]: Can't read ERROR"
        with pytest.raises(ScanError):
            await harness.scan(b"second")
        assert clamd._kept == [] and handle in closed

    async def test_a_deadline_ends_the_wait_for_an_answer_about_a_file(self, tmp_path):
        server = socket.socket(socket.AF_UNIX)
        with server:
            server.bind(str(tmp_path / "silent"))
            server.listen()
            clamd = Clamd(str(tmp_path / "silent"), 1, file_size=1000)
            handles = open_files()
            for _ in range(2):
                with pytest.raises(ScanError, match="no answer in time"):
                    await clamd.scan([b"x"], asyncio.get_running_loop().time() + 0.01)
            assert open_files() == handles

    async def test_what_is_kept_is_freed_with_the_settings_or_the_scanner(self, clamd_of_files):
        handles = open_files()
        harness = ScannerHarness(clamd_of_files.path, file_size=1000, remembered=0)
        await harness.scan(b"x")
        assert open_files() == handles + 1
        harness.scanner.use(replace(harness.scanner._settings, file_size=4))
        assert open_files() == handles and harness.scanner._servers[0].clamd.file_size == 4
        await harness.scan(b"x")
        assert open_files() == handles + 1
        harness.scanner.close()
        assert open_files() == handles

    @pytest.mark.parametrize(
        ("answer", "expected"),
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
    async def test_replies_about_a_file(self, clamd_of_files, answer, expected):
        clamd_of_files.answer = answer
        harness = ScannerHarness(clamd_of_files.path, file_size=1000)
        if expected is None:
            with pytest.raises(ScanError):
                await harness.scan(b"hello")
        else:
            verdict = await harness.scan(b"hello")
            assert expected in (verdict, verdict.finding)

    async def test_large_messages_and_other_hosts_use_a_stream(self, pair):
        assert await ScannerHarness(pair[0].path, file_size=4).scan(b"hello") == CLEAN
        assert Clamd(("127.0.0.1", 3310), 1, file_size=1000).file_size == 0


class TestRealClamd:
    @pytest.mark.parametrize("file_size", [0, 2_097_152])
    async def test_replies(self, real_clamd, file_size):
        harness = ScannerHarness(real_clamd.socket, file_size=file_size)
        assert await harness.scan(b"Subject: x\r\n\r\nhello\r\n") == CLEAN
        assert (await harness.scan(b"Subject: x\r\n\r\n" + EICAR)).name.startswith("Eicar")
        large = b"Subject: x\r\n\r\n" + b"text\r\n" * 300_000
        assert (await harness.scan(large + EICAR)).name.startswith("Eicar")
        assert await harness.scan(large) == CLEAN
        assert await harness.scan(b"x" * 27_262_977) == Verdict(Finding.OVER_LIMITS, "StreamMaxLength")
        assert (await harness.scan(BIG)) == CLEAN
        assert [event for event, _ in harness.events] == ["signatures_old"]

    async def test_over_limits(self, tmp_path_factory):
        if not CLAMD:
            pytest.skip(MISSING)
        import io
        import zipfile

        with tempfile.TemporaryDirectory(prefix="clamd") as directory:
            clamd = RealClamd(
                Path(directory), MaxScanSize=2_000_000, MaxFileSize=2_000_001, MaxRecursion=3, MaxFiles=20
            )
            try:
                harness = ScannerHarness(clamd.socket, file_size=32_768)
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
                for data in (inner, many.getvalue(), large.getvalue()):
                    verdict = await harness.scan(data)
                    assert verdict.finding is Finding.OVER_LIMITS, verdict
            finally:
                clamd.kill()

    @pytest.mark.slow
    async def test_killed_stopped_or_reloading_it_never_reports_infected_as_clean(self):
        if not CLAMD:
            pytest.skip(MISSING)
        infected = b"Subject: x\r\n\r\n" + b"text\r\n" * 100_000 + EICAR + b"\r\n"
        with tempfile.TemporaryDirectory(prefix="clamd") as directory:
            clamd = RealClamd(Path(directory))
            harness = ScannerHarness(clamd.socket, remembered=0)
            verdicts: list[object] = []
            ended = False

            async def load(seconds: float) -> None:
                for number in itertools.count():
                    if ended:
                        return
                    try:
                        verdicts.append((await harness.scan(infected, b"%d" % number, seconds=seconds)).finding)
                    except ScanError:
                        verdicts.append(None)
                        await asyncio.sleep(0.01)

            async def more(verdict: Finding | None) -> None:
                """Wait for the next one of these verdicts."""
                before = verdicts.count(verdict)
                await wait_for(lambda: verdicts.count(verdict) > before)

            # Some give up while it is stopped, and some do not.
            tasks = [asyncio.create_task(load(seconds)) for seconds in (0.3, 0.3, PATIENCE, PATIENCE)]
            try:
                for _ in range(3):
                    await more(Finding.INFECTED)
                    clamd.signal(signal.SIGSTOP)
                    await more(None)
                    clamd.signal(signal.SIGCONT)
                    clamd.signal(signal.SIGUSR2)
                    await more(Finding.INFECTED)
                    clamd.kill()
                    await more(None)
                    await asyncio.to_thread(clamd.start)
                await more(Finding.INFECTED)
            finally:
                ended = True
                await asyncio.gather(*tasks)
                clamd.kill()
            assert set(verdicts) == {None, Finding.INFECTED}

    async def test_reload_without_a_gap(self, tmp_path_factory):
        if not CLAMD:
            pytest.skip(MISSING)
        new = b"signature that comes later"
        with tempfile.TemporaryDirectory(prefix="clamd") as directory:
            clamd = RealClamd(Path(directory))
            try:
                harness = ScannerHarness(clamd.socket, signature_dir=str(clamd.database))
                assert await harness.scan(new) == CLEAN
                (clamd.database / "new.ndb").write_text(f"New.Signature:0:*:{new.hex()}\n")
                clamd.signal(signal.SIGUSR2)
                # Each scan has a verdict.
                async with asyncio.timeout(PATIENCE):
                    while (await harness.scan(new)).finding is not Finding.INFECTED:  # noqa: ASYNC110 (each scan counts)
                        await asyncio.sleep(0.005)
            finally:
                clamd.kill()
