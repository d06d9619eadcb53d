# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Actions taken on infected messages with a real clamd: how many are stripped, rejected or passed.

Input: real messages unchanged, the same with an infection at every possible place, and generated messages that hide an
infection from some mail readers. Exits with 1 if a message is delivered infected, or changed although nothing was
removed. The real messages are in `MAILGATE_CORPORA` or in ../shared/corpora.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "roles/gateway/files"), str(ROOT / "tests/unit/gateway")]

import outcomes  # noqa: E402
from infected_mail import CORPORA, NO_CORPORA  # noqa: E402
from real_clamd import CLAMD, MISSING, RealClamd  # noqa: E402
from sample_archives import BSDTAR  # noqa: E402
from sample_archives import MISSING as NO_BSDTAR  # noqa: E402


def main() -> int:
    """Print the tables."""
    if not CLAMD:
        print(MISSING, file=sys.stderr)
        return 2
    tables = {"evasions": outcomes.evading, "composed at random": partial(outcomes.composed, seeds=range(5000))}
    if BSDTAR:
        tables["evasions, in a RAR"] = outcomes.evading_in_rar
    else:
        print(NO_BSDTAR, file=sys.stderr)
    if CORPORA.is_dir():
        tables = {"real messages": outcomes.real, "real messages with an infection": outcomes.infected, **tables}
    else:
        print(NO_CORPORA, file=sys.stderr)
    bad = []
    with tempfile.TemporaryDirectory(prefix="clamd") as directory:
        clamd = RealClamd(Path(directory))
        try:
            for title, make in tables.items():
                found = asyncio.run(make(clamd.socket))
                bad += found.bad
                print(f"{title}\n{found}\n", flush=True)
        finally:
            clamd.kill()
    print("\n".join(["delivered, but should not have been:", *bad]) if bad else "no message was delivered infected")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
