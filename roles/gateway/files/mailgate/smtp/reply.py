# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An SMTP reply, sent to a client or received from a next hop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Reply:
    """Code and lines of a reply (RFC 5321 section 4.2); a line may begin with an enhanced status code (RFC 3463)."""

    code: int
    lines: tuple[str, ...]
    _wire: ClassVar[bytes | None] = None

    @classmethod
    def of(cls, code: int, text: str) -> Reply:
        """Return a one-line reply."""
        return cls(code, (text,))

    @property
    def ok(self) -> bool:
        """Whether the command succeeded."""
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        """Whether the command failed temporarily, so that the client retries."""
        return 400 <= self.code < 500

    @property
    def text(self) -> str:
        """Text of the first line."""
        return self.lines[0] if self.lines else ""

    def wire(self) -> bytes:
        """Return the reply in wire format, with its final CRLF."""
        # Most replies are constants.
        wire = self._wire
        if wire is None:
            wire = self.__dict__["_wire"] = self._encoded()
        return wire

    def _encoded(self) -> bytes:
        if len(self.lines) == 1:
            return f"{self.code} {self.lines[0]}\r\n".encode("ascii", "replace")
        lines = self.lines or ("",)
        last = len(lines) - 1
        return b"".join(
            f"{self.code}{' ' if number == last else '-'}{line}\r\n".encode("ascii", "replace")
            for number, line in enumerate(lines)
        )

    def __str__(self) -> str:
        return " / ".join(f"{self.code} {line}" for line in self.lines or ("",))
