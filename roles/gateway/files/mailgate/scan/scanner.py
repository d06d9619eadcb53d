# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All the clamds there are, as one scanner: who is asked, what is remembered, how old the signatures may be."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from mailgate.config import Scan, clamd_address
from mailgate.scan.cache import Known, Mark, ScanCache, digest_of, mark_of
from mailgate.scan.clamd import Address, Clamd, Finding, ScanError, Verdict

# One that failed is asked last for a while.
SHUN_SECONDS = 10
VERSION_SECONDS = 5
VERSION_EVERY = 60
ALARM_EVERY = 3600
# clamd looks for new signatures every ten minutes (SelfCheck); until it must have them, nothing is remembered.
SETTLE_SECONDS = 900
# Octets up to which hashing costs next to nothing; and above which it is left to a thread.
HASH_AT_ONCE = 8 * 1024
HASH_HERE = 256 * 1024


@dataclass
class _Server:
    clamd: Clamd
    load: int = 0
    shunned_until: float = 0.0
    failed: bool = False
    version: str = ""
    asked_at: float = float("-inf")
    alarmed_at: float = float("-inf")
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Scanner:
    """Scans by the settings; `emit` takes events (name and fields)."""

    def __init__(self, settings: Scan, emit: Callable[..., None], wall_clock: Callable[[], float] = time.time) -> None:
        self._emit = emit
        self.wall_clock = wall_clock
        self._servers: list[_Server] = []
        self._concurrency = 0
        self.cache = ScanCache(settings.remembered)
        self.use(settings)

    def use(self, settings: Scan) -> None:
        """Take new settings; scans that run still count against the same clamd's limit."""
        kept = {server.clamd.address: server for server in self._servers if settings.concurrency == self._concurrency}
        addresses: list[Address] = [clamd_address(text) for text in (settings.socket, *settings.other_sockets)]
        self._servers = [
            kept.get(address) or _Server(Clamd(address, settings.concurrency, file_size=settings.file_size))
            for address in dict.fromkeys(addresses)
        ]
        self._concurrency = settings.concurrency
        self.cache.limit = settings.remembered
        self._settings = settings

    async def scan(self, pieces: Sequence[bytes], deadline: float) -> Verdict:
        """The verdict on the concatenation of `pieces`, until the loop's time `deadline`; raises ScanError."""
        mark = mark_of(pieces)
        remembered = await self._recall(mark, pieces, deadline)
        if remembered:
            return remembered
        loop = asyncio.get_running_loop()
        reasons = []
        servers = self._in_order(loop.time())
        for left, server in zip(range(len(servers), 0, -1), servers, strict=True):
            now = loop.time()
            until = now + (deadline - now) / left
            server.load += 1
            try:
                if server.failed and left > 1:
                    await self._try_again(server, min(until, now + VERSION_SECONDS))
                verdict = await self._ask(server, mark, pieces, until)
                server.failed = False
                return verdict
            except ScanError as error:
                server.failed = True
                server.shunned_until = loop.time() + SHUN_SECONDS
                reasons.append(f"{server.clamd}: {error}")
                if left > 1:
                    self._emit("scanner_failed", scanner=str(server.clamd), reason=error)
            finally:
                server.load -= 1
        raise ScanError("; ".join(reasons))

    def _in_order(self, now: float) -> list[_Server]:
        by_load = self._settings.order == "load"
        return sorted(self._servers, key=lambda s: (s.shunned_until > now, s.load if by_load else 0))

    @staticmethod
    async def _try_again(server: _Server, deadline: float) -> None:
        """Have one that failed answer a small question first; until it does, the others' messages go elsewhere."""
        server.shunned_until = deadline + SHUN_SECONDS
        await server.clamd.version(deadline)
        server.shunned_until = 0.0

    async def _ask(self, server: _Server, mark: Mark, pieces: Sequence[bytes], deadline: float) -> Verdict:
        await self._look_at_signatures(server, deadline)
        # What is noted beside the verdict was true before the scan: should signatures change meanwhile, it is void.
        version = server.version
        label, remember = "", False
        if self._settings.remembered and version:
            changed, label = self._label(version)
            remember = self.wall_clock() - changed > SETTLE_SECONDS
        # A large message is hashed while clamd looks at it, a small one after the answer is on its way.
        digest = asyncio.ensure_future(self._digest(pieces)) if remember and mark[0] > HASH_HERE else None
        try:
            verdict = await server.clamd.scan(pieces, deadline)
            if remember and verdict.finding is not Finding.OVER_LIMITS:
                loop = asyncio.get_running_loop()
                until = loop.time() + 60 * self._settings.remembered_minutes
                known = partial(Known, verdict=verdict, scanner=str(server.clamd), signatures=label, until=until)
                if digest or mark[0] <= HASH_AT_ONCE:
                    self.cache.store(mark, known(await digest if digest else digest_of(pieces)))
                else:
                    loop.call_soon(lambda: self.cache.store(mark, known(digest_of(pieces))))
        finally:
            if digest:
                digest.cancel()
        return verdict

    async def _recall(self, mark: Mark, pieces: Sequence[bytes], deadline: float) -> Verdict | None:
        loop = asyncio.get_running_loop()
        known = self.cache.find(mark, loop.time())
        server = next((s for s in self._servers if known and str(s.clamd) == known.scanner), None)
        if not known or not server or await self._digest(pieces) != known.digest:
            return None
        try:
            version = await server.clamd.version(min(deadline, loop.time() + VERSION_SECONDS))
        except ScanError:
            return None
        if self._label(version)[1] != known.signatures:
            self.cache.forget(mark)
            server.asked_at = float("-inf")
            return None
        self._check_age(server)
        return known.verdict

    def _label(self, version: str) -> tuple[float, str]:
        """When the signatures on disk changed last (seconds since 1970), and a name for both them and `version`."""
        directory = self._settings.signature_dir
        try:
            changed = os.stat(directory).st_mtime_ns if directory else 0  # noqa: PTH116 (a third of Path's time)
        except OSError:
            changed = 0
        return changed / 1e9, f"{version} {changed}"

    async def _digest(self, pieces: Sequence[bytes]) -> bytes:
        if sum(map(len, pieces)) <= HASH_HERE:
            return digest_of(pieces)
        return await asyncio.to_thread(digest_of, pieces)

    async def _look_at_signatures(self, server: _Server, deadline: float) -> None:
        if asyncio.get_running_loop().time() - server.asked_at >= VERSION_EVERY:
            async with server.asking:
                await self._ask_version(server, deadline)
        self._check_age(server)

    async def _ask_version(self, server: _Server, deadline: float) -> None:
        now = asyncio.get_running_loop().time()
        if now - server.asked_at < VERSION_EVERY:
            return
        try:
            server.version = await server.clamd.version(min(deadline, now + VERSION_SECONDS))
            server.asked_at = now
        except ScanError:
            # The scan itself tells whether this clamd is of use.
            server.version = ""

    def _check_age(self, server: _Server) -> None:
        """Raise the alarm about old signatures, and ScanError where the policy says so."""
        days = self._settings.max_signature_days
        if not days:
            return
        age = signature_age(server.version, self.wall_clock())
        if age is not None and age <= days * 86400:
            return
        if not server.version:
            reason = "age of its signatures not known"
        elif age is None:
            reason = "no signatures of the ClamAV project"
        else:
            reason = f"signatures {age / 86400:.0f} days old"
        now = asyncio.get_running_loop().time()
        if now - server.alarmed_at >= ALARM_EVERY:
            server.alarmed_at = now
            self._emit("signatures_old", scanner=str(server.clamd), version=server.version, reason=reason)
        if self._settings.old_signatures == "defer":
            raise ScanError(reason)


def signature_age(version: str, now: float) -> float | None:
    """Seconds since the signatures that `version` (an answer to VERSION) names were made, None if it names none."""
    parts = version.split("/")
    if len(parts) != 3:
        return None
    try:
        made = time.mktime(time.strptime(parts[2].strip(), "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return None
    return max(0.0, now - made)
