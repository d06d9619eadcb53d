# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scanner: fail-over between clamd servers, verdict cache, limits and age of signatures."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import time

import pytest
from fake_clamd import BAD_BEHAVIOURS, HANGING, MADE, VERSION, ScannerHarness, read_stream, scan_seconds
from gateway_doubles import wait_for

from mailgate.config import ConfigError, Scan
from mailgate.config_file import parse_config
from mailgate.scan.clamd import CLEAN, ScanError
from mailgate.scan.scanner import signature_age

BIG = os.urandom(3_000_000)


class TestFailover:
    @pytest.mark.parametrize("behaviour", BAD_BEHAVIOURS)
    async def test_the_next_clamd_is_used_instead(self, pair, behaviour):
        pair[0].serve = behaviour
        harness = ScannerHarness(*(clamd.path for clamd in pair))
        # A clamd that hangs has half of the time, and the next one must not need all of the other half.
        content = b"hangs" if behaviour in HANGING else BIG
        assert await harness.scan(content, seconds=scan_seconds(behaviour, 2)) == CLEAN
        assert [event for event, _ in harness.events] == ["scanner_failed"]
        assert await harness.scan(b"another") == CLEAN
        assert (pair[0].requests, pair[1].requests) == (1, 2), "a server that failed is not used first for a while"

    async def test_scanner_down_or_restarting(self, pair, tmp_path):
        pair[0].stop()
        harness = ScannerHarness(pair[0].path)
        with pytest.raises(ScanError, match="connection failed"):
            await harness.scan(b"x")
        await pair[0].start()
        assert await harness.scan(b"x") == CLEAN

    async def test_parallel_scans_are_limited_and_spread_by_load(self, pair):
        async def scan_three(fake, reader, writer):
            await wait_for(lambda: fake.max_parallel >= 3)
            # Others would begin now.
            fake.pause = 0.02
            await fake.scan(reader, writer)

        for fake in pair:
            fake.serve = functools.partial(scan_three, fake)
        harness = ScannerHarness(*(clamd.path for clamd in pair), concurrency=3, order="load", remembered=0)
        await asyncio.gather(*(harness.scan(b"%d" % number) for number in range(24)))
        assert [fake.max_parallel for fake in pair] == [3, 3]
        assert abs(pair[0].requests - pair[1].requests) <= 2
        harness = ScannerHarness(*(clamd.path for clamd in pair), concurrency=3, remembered=0)
        await asyncio.gather(*(harness.scan(b"%d" % number) for number in range(6)))
        assert pair[0].requests + pair[1].requests == 30
        assert pair[0].requests >= 17

    async def test_waiting_for_a_turn_counts_against_the_deadline(self, pair):
        go = asyncio.Event()

        async def scan_later(reader, writer):
            await go.wait()
            await pair[0].scan(reader, writer)

        pair[0].serve = scan_later
        harness = ScannerHarness(pair[0].path, concurrency=1, remembered=0)
        first = asyncio.create_task(harness.scan(b"0"))
        await wait_for(lambda: pair[0].parallel == 1)
        others = (harness.scan(b"%d" % n, seconds=0.2) for n in (1, 2))
        results = await asyncio.gather(*others, return_exceptions=True)
        assert [type(result) for result in results] == [ScanError, ScanError]
        assert not first.done()
        go.set()
        assert await first == CLEAN
        assert pair[0].requests == 1

    async def test_settings_may_change_while_scans_run(self, pair):
        pair[0].pause = 0.2
        harness = ScannerHarness(pair[0].path, concurrency=1, remembered=0)
        first = asyncio.create_task(harness.scan(b"1"))
        await wait_for(lambda: pair[0].parallel == 1)
        harness.scanner.use(Scan(socket=str(pair[0].path), concurrency=1, remembered=0, file_size=0))
        assert await harness.scan(b"2") == CLEAN
        assert await first == CLEAN
        assert pair[0].max_parallel == 1


class TestCache:
    async def test_the_same_content_is_scanned_once_per_signature_version(self, pair):
        for content in (b"small", BIG):
            harness = ScannerHarness(pair[0].path)
            pair[0].requests, pair[0].version = 0, VERSION
            assert await harness.scan(content) == await harness.scan(content) == CLEAN
            assert pair[0].requests == 1
            pair[0].version = VERSION.replace(b"27456", b"27457")
            pair[0].answer = b"stream: New FOUND\0"
            assert (await harness.scan(content)).name == "New"
            assert pair[0].requests == 2
            assert (await harness.scan(content)).name == "New"
            assert pair[0].requests == 2
            pair[0].answer = b"stream: OK\0"

    async def test_new_signature_files_invalidate_verdicts_until_clamd_must_have_read_them(self, pair, tmp_path):
        (tmp_path / "db").mkdir()
        harness = ScannerHarness(pair[0].path, signature_dir=str(tmp_path / "db"))
        harness.now = time.time() + 1000
        await harness.scan(b"x")
        await harness.scan(b"x")
        assert pair[0].requests == 1
        (tmp_path / "db" / "own.ndb").write_text("x")
        harness.now = time.time() + 10
        await harness.scan(b"x")
        await harness.scan(b"x")
        assert pair[0].requests == 3, "clamd may not have read it yet"
        harness.now += 1000
        await harness.scan(b"x")
        await harness.scan(b"x")
        assert pair[0].requests == 4

    async def test_contents_with_equal_ends_are_different(self, pair):
        harness = ScannerHarness(pair[0].path)
        one, two = BIG[:50_000] + b"1" + BIG[50_000:], BIG[:50_000] + b"2" + BIG[50_000:]
        assert await harness.scan(one) == CLEAN
        pair[0].answer = b"stream: X FOUND\0"
        assert (await harness.scan(two)).name == "X"

    @pytest.mark.parametrize("content", [b"x" * 1000, BIG])
    async def test_a_known_digest_finds_and_confirms_a_verdict(self, pair, content):
        harness, known = ScannerHarness(pair[0].path), hashlib.sha256(content).digest()
        for digest in (known, b"", known):
            assert await harness.scan(b"first", content, known=digest) == CLEAN
        assert pair[0].requests == 1
        pair[0].answer = b"stream: X FOUND\0"
        assert (await harness.scan(b"first", content, known=known[::-1])).name == "X"
        assert (await harness.scan(b"other", content, known=known)).name == "X"

    async def test_verdicts_that_are_not_cached(self, pair):
        for version, settings, answer in (
            (VERSION, {"remembered": 0}, b"stream: OK\0"),
            (VERSION, {"remembered_minutes": 0}, b"stream: OK\0"),
            (b"rubbish", {}, b"stream: OK\0"),
            (VERSION, {}, b"stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND\0"),
        ):
            harness, pair[0].version, pair[0].answer, pair[0].requests = (
                ScannerHarness(pair[0].path, **settings),
                version,
                answer,
                0,
            )
            await harness.scan(b"x")
            await harness.scan(b"x")
            assert pair[0].requests == 2

    async def test_a_signature_change_during_the_scan_invalidates_its_verdict(self, pair):
        async def reload(reader, writer):
            await read_stream(reader)
            pair[0].version = VERSION.replace(b"27456", b"27457")
            writer.write(b"stream: OK\0")

        harness, pair[0].serve = ScannerHarness(pair[0].path), reload
        await harness.scan(b"x")
        pair[0].serve, pair[0].answer = pair[0].scan, b"stream: X FOUND\0"
        assert (await harness.scan(b"x")).name == "X"

    async def test_the_least_recently_used_verdict_is_removed_first(self, pair):
        harness = ScannerHarness(pair[0].path, remembered=2)
        for content in (b"1", b"2", b"1", b"3"):
            await harness.scan(content)
        pair[0].requests = 0
        await harness.scan(b"1")
        assert pair[0].requests == 0
        await harness.scan(b"2")
        assert pair[0].requests == 1


class TestSignatureAge:
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
    async def test_old_signatures_are_reported_and_by_policy_defer_mail(self, pair, version, days, reason, policy):
        pair[0].version = version
        harness = ScannerHarness(pair[0].path, old_signatures=policy)
        harness.now = MADE + days * 86400
        for number in range(2):
            if reason and policy == "defer":
                with pytest.raises(ScanError, match=reason):
                    await harness.scan(b"%d" % number)
            else:
                assert await harness.scan(b"%d" % number) == CLEAN
        alarms = [fields["reason"] for event, fields in harness.events if event == "signatures_old"]
        assert alarms == ([reason] if reason else [])
        quiet = ScannerHarness(pair[0].path, max_signature_days=0, old_signatures=policy)
        assert await quiet.scan(b"x") == CLEAN
        assert quiet.events == []

    async def test_old_signatures_void_cached_verdicts_too(self, pair):
        harness = ScannerHarness(pair[0].path, old_signatures="defer")
        assert await harness.scan(b"x") == CLEAN
        harness.now += 30 * 86400
        with pytest.raises(ScanError, match="31 days old"):
            await harness.scan(b"x")

    async def test_parallel_first_scans_wait_for_the_age_of_the_signatures(self, pair):
        harness = ScannerHarness(pair[0].path, old_signatures="defer")
        assert await asyncio.gather(*(harness.scan(b"%d" % number) for number in range(5))) == [CLEAN] * 5

    def test_age_of_signatures(self):
        assert signature_age(VERSION[:-1].decode(), MADE + 5) == 5
        assert signature_age(VERSION[:-1].decode(), MADE - 5) == 0
        assert signature_age("ClamAV 1.4.6", MADE) is None


class TestSettings:
    @pytest.mark.parametrize("socket", ["clamd.ctl", "localhost:3310", "127.0.0.1", "", "127.0.0.1:99999"])
    def test_addresses_of_clamd_are_checked(self, socket):
        with pytest.raises(ConfigError) as caught:
            parse_config(
                f'hostname = "g.example"\nroutes_file = "/r"\n[scan]\nsocket = "/ok"\nother_sockets = ["{socket}"]\n'
            )
        assert all("scan.other_sockets" in problem for problem in caught.value.problems)
