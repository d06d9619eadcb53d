# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An SMTP reply, ours or a next hop's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """Code and lines of one reply (RFC 5321 section 4.2); a line holds its enhanced status code (RFC 3463) if any."""

    code: int
    lines: tuple[str, ...]

    @classmethod
    def of(cls, code: int, text: str) -> Reply:
        """One-line reply."""
        return cls(code, (text,))

    @property
    def ok(self) -> bool:
        """Whether the command was done."""
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        """Whether the sender is to try again."""
        return 400 <= self.code < 500

    @property
    def text(self) -> str:
        """First line's text."""
        return self.lines[0] if self.lines else ""

    def wire(self) -> bytes:
        """The reply as sent, with its final CRLF."""
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
