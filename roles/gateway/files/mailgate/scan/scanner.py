# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All clamds as one scanner: choice of the server, cache of verdicts, maximum age of the signatures."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from mailgate.config import Scan, clamd_address
from mailgate.scan.cache import CachedVerdict, CacheKey, ScanCache, cache_key, digest
from mailgate.scan.clamd import Address, Clamd, Finding, ScanError, Verdict

# How long a server that failed is tried last.
DOWN_SECONDS = 10
VERSION_SECONDS = 5
VERSION_EVERY = 60
ALARM_EVERY = 3600
# clamd looks for new signatures every ten minutes (SelfCheck); until it must have them, nothing is cached.
SETTLE_SECONDS = 900
# Size in bytes up to which hashing takes almost no time; and above which a thread does it.
HASH_IMMEDIATELY = 8 * 1024
HASH_INLINE = 256 * 1024


@dataclass
class _Server:
    clamd: Clamd
    load: int = 0
    down_until: float = 0.0
    failed: bool = False
    version: str = ""
    version_at: float = float("-inf")
    alarmed_at: float = float("-inf")
    version_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Scanner:
    """Scanner by the settings; `emit` is called with events (name and fields)."""

    def __init__(self, settings: Scan, emit: Callable[..., None], wall_clock: Callable[[], float] = time.time) -> None:
        self._emit = emit
        self.wall_clock = wall_clock
        self._servers: list[_Server] = []
        self._concurrency = 0
        self.cache = ScanCache(settings.remembered)
        self.use(settings)

    def use(self, settings: Scan) -> None:
        """Apply new settings; running scans still count against the limit of the same clamd."""
        kept = {server.clamd.address: server for server in self._servers if settings.concurrency == self._concurrency}
        addresses: list[Address] = [clamd_address(text) for text in (settings.socket, *settings.other_sockets)]
        before = self._servers
        self._servers = [
            kept.get(address) or _Server(Clamd(address, settings.concurrency)) for address in dict.fromkeys(addresses)
        ]
        for server in before:
            server.clamd.close()
        for server in self._servers:
            server.clamd.use(settings.file_size)
        self._concurrency = settings.concurrency
        self.cache.limit = settings.remembered
        self._settings = settings

    def close(self) -> None:
        """Free what is kept for the next scan."""
        for server in self._servers:
            server.clamd.close()

    async def scan(self, pieces: Sequence[bytes], deadline: float, known: bytes = b"") -> Verdict:
        """Return the verdict on the concatenation of `pieces`.

        Args:
            pieces: The content; AS_MAIL comes first in what clamd is to parse as mail.
            deadline: Time of the event loop at which the verdict is due.
            known: The SHA-256 of the last piece, if it has been computed.

        Raises:
            ScanError: No clamd has given a verdict in time.
        """
        key = cache_key(pieces)
        cached = await self._from_cache(key, pieces, deadline, known)
        if cached:
            return cached
        loop = asyncio.get_running_loop()
        reasons = []
        servers = self._in_order(loop.time())
        for left, server in zip(range(len(servers), 0, -1), servers, strict=True):
            now = loop.time()
            server_deadline = now + (deadline - now) / left
            server.load += 1
            try:
                if server.failed and left > 1:
                    await self._probe(server, min(server_deadline, now + VERSION_SECONDS))
                verdict = await self._ask(server, key, pieces, server_deadline, known)
                server.failed = False
                return verdict
            except ScanError as error:
                server.failed = True
                server.down_until = loop.time() + DOWN_SECONDS
                reasons.append(f"{server.clamd}: {error}")
                if left > 1:
                    self._emit("scanner_failed", scanner=str(server.clamd), reason=error)
            finally:
                server.load -= 1
        raise ScanError("; ".join(reasons))

    def _in_order(self, now: float) -> list[_Server]:
        by_load = self._settings.order == "load"
        return sorted(self._servers, key=lambda s: (s.down_until > now, s.load if by_load else 0))

    @staticmethod
    async def _probe(server: _Server, deadline: float) -> None:
        """Ask a server that failed for its version first; until it answers, other messages go elsewhere."""
        server.down_until = deadline + DOWN_SECONDS
        await server.clamd.version(deadline)
        server.down_until = 0.0

    async def _ask(
        self, server: _Server, key: CacheKey, pieces: Sequence[bytes], deadline: float, known: bytes
    ) -> Verdict:
        await self._check_signatures(server, deadline)
        # The label in the cache is from before the scan: if signatures change during the scan, the entry is void.
        version = server.version
        label, store = "", False
        if self._settings.remembered and version:
            changed, label = self._label(version)
            store = self.wall_clock() - changed > SETTLE_SECONDS
        # A large message is hashed while clamd scans it, a small one after the answer is sent.
        large = key[0] > HASH_INLINE and not known
        hashed = asyncio.ensure_future(self._digest(pieces, known)) if store and large else None
        try:
            verdict = await server.clamd.scan(pieces, deadline)
            if store and verdict.finding is not Finding.OVER_LIMITS:
                loop = asyncio.get_running_loop()
                expires = loop.time() + 60 * self._settings.remembered_minutes
                entry = partial(
                    CachedVerdict, verdict=verdict, scanner=str(server.clamd), signatures=label, expires=expires
                )
                if hashed or known or key[0] <= HASH_IMMEDIATELY:
                    self.cache.store(key, entry(await hashed if hashed else digest(pieces, known)))
                else:
                    loop.call_soon(lambda: self.cache.store(key, entry(digest(pieces))))
        finally:
            if hashed:
                hashed.cancel()
        return verdict

    async def _from_cache(
        self, key: CacheKey, pieces: Sequence[bytes], deadline: float, known: bytes
    ) -> Verdict | None:
        loop = asyncio.get_running_loop()
        cached = self.cache.find(key, loop.time())
        server = next((s for s in self._servers if cached and str(s.clamd) == cached.scanner), None)
        if not cached or not server or await self._digest(pieces, known) != cached.digest:
            return None
        try:
            version = await server.clamd.version(min(deadline, loop.time() + VERSION_SECONDS))
        except ScanError:
            return None
        if self._label(version)[1] != cached.signatures:
            self.cache.remove(key)
            server.version_at = float("-inf")
            return None
        self._check_age(server)
        return cached.verdict

    def _label(self, version: str) -> tuple[float, str]:
        """Return when the signatures on disk changed (seconds since 1970), and a label of both them and `version`."""
        directory = self._settings.signature_dir
        try:
            changed = os.stat(directory).st_mtime_ns if directory else 0  # noqa: PTH116 (a third of Path's time)
        except OSError:
            changed = 0
        return changed / 1e9, f"{version} {changed}"

    @staticmethod
    async def _digest(pieces: Sequence[bytes], known: bytes) -> bytes:
        if known or sum(map(len, pieces)) <= HASH_INLINE:
            return digest(pieces, known)
        return await asyncio.to_thread(digest, pieces)

    async def _check_signatures(self, server: _Server, deadline: float) -> None:
        if asyncio.get_running_loop().time() - server.version_at >= VERSION_EVERY:
            async with server.version_lock:
                await self._ask_version(server, deadline)
        self._check_age(server)

    async def _ask_version(self, server: _Server, deadline: float) -> None:
        now = asyncio.get_running_loop().time()
        if now - server.version_at < VERSION_EVERY:
            return
        try:
            server.version = await server.clamd.version(min(deadline, now + VERSION_SECONDS))
            server.version_at = now
        except ScanError:
            # The scan itself shows whether this clamd works.
            server.version = ""

    def _check_age(self, server: _Server) -> None:
        """Emit the event about old signatures, and raise ScanError if the settings defer mail then."""
        days = self._settings.max_signature_days
        if not days:
            return
        age = signature_age(server.version, self.wall_clock())
        if age is not None and age <= days * 86400:
            return
        if not server.version:
            reason = "age of the signatures unknown"
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
    """Return the age in seconds of the signatures in `version` (an answer to VERSION), None if it has none."""
    made = _made_at(version)
    return None if made is None else max(0.0, now - made)


# Each scan needs it, and the version changes a few times a day.
@lru_cache(maxsize=16)
def _made_at(version: str) -> float | None:
    """Return when the signatures in `version` were made, in seconds since 1970; None if it has none."""
    parts = version.split("/")
    if len(parts) != 3:
        return None
    try:
        return time.mktime(time.strptime(parts[2].strip(), "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return None
