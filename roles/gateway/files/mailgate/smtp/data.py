# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DATA stream (RFC 5321 section 4.5.2): find its end, remove and add dot-stuffing."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

# As expressions: several times as fast as bytes.find for so short a needle.
_END = re.compile(rb"\r\n\.\r\n")
_DOTTED = re.compile(rb"\r\n\.")


class DataDecoder:
    """Collects what follows 354 up to CRLF.CRLF and undoes dot-stuffing (RFC 5321 section 4.5.2).

    No other sequence ends the data, whatever the pieces it arrives in. Beyond `limit` octets the rest is read
    and thrown away.
    """

    def __init__(self, limit: int) -> None:
        # It gives away what it holds without a copy.
        self._content = io.BytesIO()
        self._size = 0
        # The last octets: the end may lie across pieces. At first the line end of DATA itself, so that a dot on the
        # first line is like any other.
        self._tail = b"\r\n"
        self._limit = limit
        self._dotted = False
        self._discarding = False
        self.done = False
        self.too_big = False

    def discard(self) -> None:
        """Keep nothing from now on, but go on looking for the end."""
        self._discarding = True
        self._content = io.BytesIO()

    def feed(self, chunk: bytes) -> bytes:
        """Take octets; returns those after the end of the data, once `done`."""
        tail = self._tail
        edge = tail + chunk[:4]
        found = _END.search(edge)
        end: int | None
        if found:
            end = found.start() + 2 - len(tail)
        else:
            self._dotted = self._dotted or _DOTTED.search(edge) is not None
            end = self._end_in(chunk)
        self.done = end is not None
        size = len(chunk) if end is None else end
        self._tail = chunk[-4:] if len(chunk) >= 4 else (tail + chunk)[-4:]
        self._size += size
        if not self._discarding:
            if self._size > self._limit:
                # With dots undone it may be a few octets less; a sender that close to the limit is over it.
                self.too_big = True
                self.discard()
            elif size == len(chunk):
                self._content.write(chunk)
            elif size >= 0:
                self._content.write(memoryview(chunk)[:size])
            else:
                # The end began in octets that were kept already.
                self._content.truncate(self._size)
        return chunk[size + 3 :] if self.done else b""

    def _end_in(self, chunk: bytes) -> int | None:
        """Where the message ends, its last CRLF included, if the end lies within the chunk."""
        # Lines that begin with a dot are few, so one search serves for both.
        for dot in _dotted_lines(chunk):
            if chunk.startswith(b"\r\n", dot.end()):
                return dot.start() + 2
            self._dotted = True
        return None

    def content(self) -> bytes:
        """The message, once `done`; the decoder is empty afterwards."""
        content = self._content.getvalue()
        self._content = io.BytesIO()
        if content.startswith(b"."):
            content = content[1:]
        return content.replace(b"\r\n.", b"\r\n") if self._dotted else content


def _dotted_lines(octets: bytes) -> Iterator[re.Match[bytes]]:
    """CRLF and a dot, wherever they are."""
    # An attachment has no dots at all, and a single octet is found faster than by any expression.
    first, last = octets.find(b"."), octets.rfind(b".")
    yield from _DOTTED.finditer(octets, max(0, first - 2), octets.rfind(b".", 0, max(0, last)) + 1)
    if last >= 2 and (found := _DOTTED.match(octets, last - 2)):
        yield found


def stuff(piece: bytes) -> bytes:
    """Dot-stuff octets that begin at the start of a line (section 4.5.2); the same object if there is nothing to do."""
    stuffed = piece.replace(b"\r\n.", b"\r\n..") if next(_dotted_lines(piece), None) else piece
    return b"." + stuffed if stuffed.startswith(b".") else stuffed
