# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect to TCP ports on request, and watch some of them all the time.

Requests and answers are lines of JSON. `{"probe": [[ADDRESS, PORT], …]}` connects to each at once and answers with a
list of results: `open`, `refused`, `silence` or the error's name. `{"watch": […]}` begins to connect to each ten times
a second. `{"since": T}` answers for each watched port with the spans `[FROM, UNTIL]` since T in which it was open, and
whether it is open now. Times are of the monotonic clock, which all processes of the machine share.
"""

from __future__ import annotations

import concurrent.futures
import json
import socket
import sys
import threading
import time

Target = tuple[str, int]
INTERVAL = 0.1
TIMEOUT = 1.0
WATCH_TIMEOUT = 0.4


def connect(target: Target, timeout: float = TIMEOUT) -> str:
    """Return how a connection attempt ends."""
    try:
        with socket.create_connection(target, timeout):
            return "open"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return error.strerror or type(error).__name__


class Watch(threading.Thread):
    """Connects to one port all the time and keeps the spans in which it was open."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self.target = target
        self.spans: list[list[float]] = []
        self.is_open = False
        self.rounds = 0

    def run(self) -> None:
        """Connect until the process ends."""
        while True:
            began = time.monotonic()
            now_open = connect(self.target, WATCH_TIMEOUT) == "open"
            if now_open and not self.is_open:
                self.spans.append([began, began])
            if now_open:
                self.spans[-1][1] = time.monotonic()
            self.is_open = now_open
            self.rounds += 1
            time.sleep(max(0.0, began + INTERVAL - time.monotonic()))

    def since(self, moment: float) -> dict[str, object]:
        """Return the spans since a moment, after at least one more complete round."""
        rounds = self.rounds
        while self.rounds < rounds + 2:
            time.sleep(0.02)
        spans = [[max(first, moment), last] for first, last in list(self.spans) if last >= moment]
        return {"spans": spans, "open": self.is_open}


def main() -> None:
    """Answer requests until standard input ends."""
    watches: list[Watch] = []
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        for line in sys.stdin:
            request = json.loads(line)
            answer: object = None
            if "watch" in request:
                watches = [Watch((address, port)) for address, port in request["watch"]]
                for watch in watches:
                    watch.start()
            elif "since" in request:
                answer = list(pool.map(Watch.since, watches, [request["since"]] * len(watches)))
            else:
                answer = list(pool.map(connect, [(address, port) for address, port in request["probe"]]))
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
