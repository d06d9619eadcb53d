# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect again and again for SECONDS to each ADDRESS,PORT: `watch.py FILE SECONDS TARGET …`.

Write to FILE, as JSON, for each target the number of attempts, how many were accepted, and the seconds from the first
to the last that was accepted.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path


def watch(target: str, until: float) -> dict[str, float]:
    """Connect until a time, about 20 times a second."""
    address, _comma, port = target.rpartition(",")
    attempts, accepted = 0, []
    while time.monotonic() < until:
        attempts += 1
        began = time.monotonic()
        try:
            socket.create_connection((address, int(port)), timeout=0.3).close()
            accepted.append(began)
        except OSError:
            pass
        time.sleep(0.05)
    seconds = round(accepted[-1] - accepted[0], 2) if accepted else 0.0
    return {"attempts": attempts, "open": len(accepted), "seconds": seconds}


until = time.monotonic() + float(sys.argv[2])
results: dict[str, dict[str, float]] = {}
threads = [
    threading.Thread(target=lambda target=target: results.update({target: watch(target, until)}))
    for target in sys.argv[3:]
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
staged = Path(f"{sys.argv[1]}.new")
staged.write_text(json.dumps(results))
staged.replace(sys.argv[1])
