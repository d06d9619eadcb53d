# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions of the web page to `mailgate web-data`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Longest answer: a few hundred events with many recipients each.
MAX_ANSWER = 32 * 1024 * 1024
SECONDS = 60


class DataError(Exception):
    """There is no answer; `reason` is `forbidden`, `not_found`, `invalid`, `failed` or `unreachable`."""

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(text or reason)
        self.reason = reason


@dataclass(frozen=True)
class Data:
    """The socket of `mailgate web-data`, asked for one user."""

    path: str
    user: str
    groups: Sequence[str] = ()
    seconds: float = SECONDS

    async def ask(self, operation: str, arguments: Mapping[str, object], gateway: str = "") -> dict[str, Any]:
        """Return the answer of a gateway, empty for this one, to a question; raise DataError."""
        request = {
            "operation": operation,
            "user": self.user,
            "groups": list(self.groups),
            "arguments": dict(arguments),
            "gateway": gateway,
        }
        try:
            async with asyncio.timeout(self.seconds):
                line = await self._exchange(json.dumps(request).encode("ascii") + b"\n")
            answer = json.loads(line)
        except (OSError, ValueError, TimeoutError) as error:
            raise DataError("unreachable", str(error) or "no answer in time") from error
        if not isinstance(answer, dict) or not isinstance(answer.get("answer"), dict):
            refused = answer if isinstance(answer, dict) else {}
            raise DataError(str(refused.get("refused", "unreachable")), str(refused.get("text", "")))
        return dict(answer["answer"])

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=MAX_ANSWER)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()
