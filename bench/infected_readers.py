# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a mail reader finds an infection that the gateway delivers, in messages mutated at random.

Each message goes through the gateway's decision on content with a real clamd; eight mail readers (tests/readers)
extract the files of what would be delivered. Exits with 1 if one of them extracts an infected file, and writes such
messages to `.cache/readers/found`. One message of ten has harmless files only, and must be delivered unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "roles/gateway/files"), str(ROOT / "tests/unit/gateway"), str(ROOT)]

from ambiguous_mail import GZIP  # noqa: E402
from infected_mail import RAR, ZIP  # noqa: E402
from mutated_mail import MARKS, Mutator  # noqa: E402
from outcomes import RULES  # noqa: E402
from real_clamd import CLAMD, MISSING, RealClamd  # noqa: E402

from mailgate.config import Scan  # noqa: E402
from mailgate.content.screen import ContentDecision, screen  # noqa: E402
from mailgate.scan.clamd import Finding, ScanError  # noqa: E402
from mailgate.scan.scanner import Scanner  # noqa: E402
from tests.readers import readers  # noqa: E402

FOUND = ROOT / ".cache/readers/found"
_BATCH = 100
_AT_A_TIME = 4
_CLEAN = 10
_SCAN_SECONDS = 60


class Run:
    """Counts of one run, and the messages delivered infected, by seed."""

    def __init__(self, socket: Path) -> None:
        self.scanner = Scanner(Scan(socket=str(socket), max_signature_days=0), lambda *_, **__: None)
        self.outcomes: Counter[str] = Counter()
        self.clean: Counter[str] = Counter()
        self.extracted: Counter[str] = Counter()
        self.harmed: dict[int, str] = {}
        self.bad: dict[int, dict[str, None]] = {}

    async def batch(self, seeds: range) -> None:
        """Decide on the messages of these seeds, and have the readers open what is delivered."""
        places = asyncio.Semaphore(_AT_A_TIME)
        delivered = await asyncio.gather(*(self._one(seed, places) for seed in seeds))
        passed = [(seed, content) for seed, content in zip(seeds, delivered, strict=True) if content]
        files = await asyncio.to_thread(readers.extract, [content for _seed, content in passed], MARKS)
        for file in files:
            seed, content = passed[file.message]
            if await self._infected(file.content):
                self.extracted[file.reader] += 1
                self.bad.setdefault(seed, {})[file.reader] = None
                FOUND.mkdir(parents=True, exist_ok=True)
                (FOUND / f"{seed}.eml").write_bytes(content)

    async def _one(self, seed: int, places: asyncio.Semaphore) -> bytes:
        infected = seed % _CLEAN != 0
        raw = Mutator(seed, infected=infected).message()
        async with places:
            if not infected:
                result = await self._decide(raw)
                outcome = self._outcome(raw, result)
                self.clean[outcome] += 1
                # Some mutations damage an archive, which then counts as unchecked.
                if outcome not in ("same", "unchecked"):
                    self.harmed[seed] = outcome
                return b""
            result = await self._decide(raw)
            self.outcomes[self._outcome(raw, result)] += 1
            return result.content if result else b""

    async def _decide(self, raw: bytes) -> ContentDecision | None:
        deadline = asyncio.get_running_loop().time() + _SCAN_SECONDS
        try:
            return await screen(raw, lambda pieces: self.scanner.scan(pieces, deadline), RULES)
        except ScanError:
            return None

    def _outcome(self, raw: bytes, result: ContentDecision | None) -> str:
        if result is None:
            return "deferred"
        if result.found.finding is Finding.UNCHECKED:
            return "unchecked"
        if result.refusal:
            return "over limits" if result.found.finding is Finding.OVER_LIMITS else "refused"
        if result.removed:
            return "stripped"
        return "same" if result.content == raw else "changed"

    async def _infected(self, content: bytes) -> bool:
        # clamd opens neither the RAR nor all archives behind other bytes; no program opens a gzip behind others.
        if ZIP in content or RAR in content or content.startswith(GZIP):
            return True
        deadline = asyncio.get_running_loop().time() + _SCAN_SECONDS
        return (await self.scanner.scan((content,), deadline)).finding is Finding.INFECTED

    def __str__(self) -> str:
        lines = [
            f"{title:10}{counts.total():>8}  " + ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
            for title, counts in (("infected", self.outcomes), ("clean", self.clean))
        ]
        lines.append(
            "infected files extracted: " + ", ".join(f"{name} {self.extracted[name]}" for name in readers.NAMES)
        )
        return "\n".join(lines)


def run(seeds: range, seconds: float) -> Run:
    """Return the counts for these seeds, or for as many of them as the time allows."""
    with tempfile.TemporaryDirectory(prefix="clamd") as directory:
        clamd = RealClamd(Path(directory))
        try:
            return asyncio.run(_batches(Run(clamd.socket), seeds, time.monotonic() + seconds))
        finally:
            clamd.kill()


async def _batches(result: Run, seeds: range, end: float) -> Run:
    for first in range(seeds.start, seeds.stop, _BATCH):
        if time.monotonic() > end:
            break
        await result.batch(range(first, min(first + _BATCH, seeds.stop)))
    return result


def main() -> int:
    """Print the counts, and the seeds of messages delivered infected."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=0, help="of the first message")
    options.add_argument("--messages", type=int, default=10_000_000)
    chosen = options.parse_args()
    if absent := readers.missing() or ("" if CLAMD else MISSING):
        print(absent, file=sys.stderr)
        return 2
    result = run(range(chosen.seed, chosen.seed + chosen.messages), chosen.seconds)
    print(result)
    for seed, names in sorted(result.bad.items()):
        print(f"delivered infected: seed {seed}: {', '.join(names)}")
    for seed, outcome in sorted(result.harmed.items()):
        print(f"clean, but {outcome}: seed {seed}")
    return 1 if result.bad or result.harmed else 0


if __name__ == "__main__":
    sys.exit(main())
