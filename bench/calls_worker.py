# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker of the gateway in this process, whose function calls are counted; started by bench.calls.

SIGUSR1 begins to count. SIGUSR2 ends it, and writes the profile (see pstats) to a file. Each is answered by a line on
standard output, which has no events.

python3 bench/calls_worker.py SETTINGS PROFILE      (with `mailgate` in PYTHONPATH)
"""

from __future__ import annotations

import cProfile
import gc
import os
import signal
import sys
from pathlib import Path

from mailgate.config_file import load
from mailgate.process import supervisor, worker
from mailgate.worker_counters import WorkerCounters


def count_calls(profile: Path) -> None:
    """Count from SIGUSR1 to SIGUSR2, and write the counts to a file."""
    profiler = cProfile.Profile()

    def begin(*_signal: object) -> None:
        profiler.clear()
        os.write(1, b"begun\n")
        profiler.enable()

    def end(*_signal: object) -> None:
        profiler.disable()
        profiler.dump_stats(profile)
        os.write(1, b"ended\n")

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)


def ready() -> None:
    """Report that clients may connect."""
    os.write(1, b"ready\n")


def main() -> None:
    """Serve until SIGTERM."""
    settings, profile = map(Path, sys.argv[1:])
    count_calls(profile)
    # A worker of a service whose supervisor never ends.
    alive, _write_end = os.pipe()
    config, routes = load(settings)
    sockets = [supervisor.listening_socket(endpoint) for endpoint in config.listen]
    gc.freeze()
    gc.set_threshold(*supervisor.GC_THRESHOLDS)
    with Path(os.devnull).open("w") as sys.stdout:
        ready()
        worker.main(settings, config, routes, WorkerCounters(), sockets, generation=1, supervisor=alive)


if __name__ == "__main__":
    main()
