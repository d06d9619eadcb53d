# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DATA stream (RFC 5321 section 4.5.2): find its end, undo and apply dot-stuffing."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

# Regular expressions are several times faster than bytes.find for such short patterns.
_END_OF_DATA = re.compile(rb"\r\n\.\r\n")
_DOTTED = re.compile(rb"\r\n\.")


class DataDecoder:
    """Collect the data after the 354 reply up to CRLF.CRLF and undo dot-stuffing (RFC 5321 section 4.5.2).

    No other sequence ends the data, however it is split into chunks. Data beyond `limit` bytes is read and discarded.
    """

    def __init__(self, limit: int) -> None:
        # Returns its content without a copy.
        self._content = io.BytesIO()
        self._size = 0
        # The last bytes: the end of data may span chunks. Initially the CRLF of the DATA command, so that a dot on the
        # first line needs no special case.
        self._tail = b"\r\n"
        self._limit = limit
        self._dotted = False
        self._discarding = False
        self.done = False
        self.too_big = False

    def discard(self) -> None:
        """Discard the content, but continue to look for the end of data."""
        self._discarding = True
        self._content = io.BytesIO()

    def feed(self, chunk: bytes) -> bytes:
        """Consume a chunk; once `done`, return the bytes after the end of data."""
        tail = self._tail
        edge = tail + chunk[:4]
        found = _END_OF_DATA.search(edge)
        end: int | None
        if found:
            end = found.start() + 2 - len(tail)
        else:
            self._dotted = self._dotted or _DOTTED.search(edge) is not None
            end = self._find_end(chunk)
        self.done = end is not None
        size = len(chunk) if end is None else end
        self._tail = chunk[-4:] if len(chunk) >= 4 else (tail + chunk)[-4:]
        self._size += size
        if not self._discarding:
            if self._size > self._limit:
                # Without dot-stuffing it may be a few bytes smaller; a message that close to the limit exceeds it.
                self.too_big = True
                self.discard()
            elif size == len(chunk):
                self._content.write(chunk)
            elif size >= 0:
                self._content.write(memoryview(chunk)[:size])
            else:
                # The end of data began in bytes that are already stored.
                self._content.truncate(self._size)
        return chunk[size + 3 :] if self.done else b""

    def _find_end(self, chunk: bytes) -> int | None:
        """Return the offset behind the last CRLF of the message if the end of data lies within the chunk."""
        # Lines that begin with a dot are rare, so one search finds both them and the end of data.
        for dot in _dotted_lines(chunk):
            if chunk.startswith(b"\r\n", dot.end()):
                return dot.start() + 2
            self._dotted = True
        return None

    def content(self) -> bytes:
        """Return the message, once `done`; the decoder is empty afterwards."""
        content = self._content.getvalue()
        self._content = io.BytesIO()
        if content.startswith(b"."):
            content = content[1:]
        return content.replace(b"\r\n.", b"\r\n") if self._dotted else content


def _dotted_lines(data: bytes) -> Iterator[re.Match[bytes]]:
    """Yield each CRLF that is followed by a dot."""
    # A base64 attachment contains no dots, and a search for a single byte is faster than a regular expression.
    first = data.find(b".")
    if first < 0:
        return
    last = data.rfind(b".")
    yield from _DOTTED.finditer(data, max(0, first - 2), data.rfind(b".", 0, max(0, last)) + 1)
    if last >= 2 and (found := _DOTTED.match(data, last - 2)):
        yield found


def stuff(piece: bytes) -> bytes:
    """Dot-stuff data that begins at the start of a line (section 4.5.2); return the same object if nothing changes."""
    stuffed = piece.replace(b"\r\n.", b"\r\n..") if next(_dotted_lines(piece), None) else piece
    return b"." + stuffed if stuffed.startswith(b".") else stuffed
