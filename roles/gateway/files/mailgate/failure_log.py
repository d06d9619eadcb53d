# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line for a failure that lasts, as of a full disk, in place of a traceback for each message."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("mailgate")

REPEAT_SECONDS = 600.0


class FailureLog:
    """Logs the first failure, then at most one in REPEAT_SECONDS with their number, and the end.

    Args:
        what: What fails, as in "cannot write the counters".
        clock: Time in seconds.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._number = 0
        self._logged_at = 0.0

    def failed(self, error: Exception) -> None:
        """Note a failure."""
        self._number += 1
        now = self._clock()
        if self._number == 1 or now - self._logged_at >= REPEAT_SECONDS:
            self._logged_at = now
            log.error("%s: %s (failures: %d); mail continues", self._what, error, self._number)

    def worked(self) -> None:
        """Note a success."""
        if self._number:
            log.warning("%s: works again after %d failures", self._what, self._number)
            self._number = 0
