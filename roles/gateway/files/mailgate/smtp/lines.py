# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches of line ends, fast for lines of equal length, as base64 has: nearly all of a large message.

Slices with a step take a tenth of the time of any search for each line end.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"\n(?<!\r\n)")
_LINE_ENDS = b"\r\n"
# A table that marks all bytes but LF. Searching one byte is many times faster than `bytes.strip`.
_OTHER = b"x"
_OTHER_THAN_LF = bytes(_OTHER[0] if byte != 10 else byte for byte in range(256))
# Smaller data is searched directly. Longer lines than a mailer may send are not looked for.
_LARGE, _LONGEST = 16 * 1024, 1000
# Runs of equal lines in one message, for example of several attachments.
_MAX_RUNS = 8
_PIECE = 96 * 1024


class Run(NamedTuple):
    """Lines of equal length with CRLF: from `start` to `end`, which is behind the last CRLF, `width` with CRLF."""

    start: int
    end: int
    width: int


def equal_lines(content: bytes, start: int, end: int) -> Run | None:
    """Return the lines of equal length around the middle of a part of `content`; None if they are less than an eighth.

    A line may have further line ends within.
    """
    first = content.find(b"\n", (start + end) // 2, (start + end) // 2 + _LONGEST)
    second = content.find(b"\n", first + 1, first + 1 + _LONGEST) if first >= 0 else -1
    width = second - first
    if second < 0 or second >= end or width < len(_LINE_ENDS):
        return None
    origin = first - (first - start) // width * width
    column = content[origin:end:width]
    middle = (first - origin) // width
    others = column.translate(_OTHER_THAN_LF)
    begins = others.rfind(_OTHER, 0, middle) + 1
    ends = others.find(_OTHER, middle)
    here, there = origin + begins * width + 1, origin + ((ends if ends >= 0 else len(column)) - 1) * width + 1
    if there - here < (end - start) // 8:
        return None
    before_lf = content[here + width - 2 : there : width]
    if before_lf != b"\r" * len(before_lf):
        return None
    return Run(here, there, width)


def lines_of(content: bytes) -> Lines:
    """Return the runs of equal lines in a message, and what is between them."""
    todo = [(0, len(content))]
    runs: list[Run] = []
    others: list[tuple[int, int]] = []
    while todo:
        start, end = todo.pop()
        run = equal_lines(content, start, end) if end - start >= _LARGE and len(runs) < _MAX_RUNS else None
        if run is None:
            others.append((start, end))
            continue
        if _has_other_line_ends(content, run):
            others.append((run.start, run.end))
        else:
            runs.append(run)
        todo += [(start, run.start), (run.end, end)]
    return Lines(content, runs, others)


class Lines(NamedTuple):
    """The lines of a message: `runs` end with CRLF and have no CR or LF within; `others` are the places between."""

    content: bytes
    runs: list[Run]
    others: list[tuple[int, int]]

    def have_bare_newlines(self) -> bool:
        """Return whether the message contains a bare CR or LF."""
        return any(
            _BARE_CR.search(self.content, start, end) or _BARE_LF.search(self.content, start, end)
            for start, end in self.others
        )

    def exceed(self, limit: int) -> bool:
        """Return whether a line, including its CRLF, exceeds `limit` bytes."""
        if any(run.width > limit for run in self.runs):
            return True
        # Each place is followed by the end of the message or by a run, whose first line it may begin.
        return any(has_long_line(self.content, limit, start, end) for start, end in self.others)


def has_long_line(content: bytes, limit: int, start: int = 0, end: int | None = None) -> bool:
    """Return whether a line that begins between `start` and `end` exceeds `limit` bytes, including its CRLF."""
    end = len(content) if end is None else end
    while start < end and start + limit < len(content):
        found = content.rfind(b"\n", start, start + limit)
        if found < 0:
            return True
        start = found + 1
    return False


def normalize(content: bytes) -> bytes:
    """Replace each bare CR by a space and each bare LF by CRLF."""
    return _BARE_LF.sub(b"\r\n", _BARE_CR.sub(b" ", content))


def joined(content: bytes, start: int, end: int, overlap: int) -> Iterator[bytes]:
    """Yield a part of the content without any CR or LF, in pieces that begin with the last bytes of the one before.

    Args:
        content: A message.
        start: Where the part begins.
        end: Where it ends.
        overlap: How many bytes are repeated.
    """
    run = equal_lines(content, start, end) if end - start >= _LARGE else None
    if run is None:
        yield content[start:end].translate(None, _LINE_ENDS)
        return
    last = b""
    parts: Iterable[bytes] = chain((content[start : run.start],), _texts(content, run), (content[run.end : end],))
    for text in parts:
        last += text.translate(None, _LINE_ENDS) if b"\r" in text or b"\n" in text else text
        yield last
        last = last[-overlap:]


def _pieces(content: bytes, run: Run) -> Iterator[memoryview]:
    """Yield the lines in pieces that stay in the processor's cache."""
    view = memoryview(content)
    step = max(1, _PIECE // run.width) * run.width
    for start in range(run.start, run.end, step):
        yield view[start : min(start + step, run.end)]


def _has_other_line_ends(content: bytes, run: Run) -> bool:
    """Return whether there is a CR or LF within the lines."""
    width = run.width
    for piece in _pieces(content, run):
        text = bytearray(piece)
        # To overwrite the line ends takes a third of the time of removing them.
        text[width - 2 :: width] = text[width - 1 :: width] = bytes(len(text) // width)
        if b"\r" in text or b"\n" in text:
            return True
    return False


def _texts(content: bytes, run: Run) -> Iterator[bytes]:
    """Yield the lines' texts without the CRLF at the ends, in pieces that stay in the processor's cache."""
    width = run.width
    for piece in _pieces(content, run):
        if width % 2:
            text = bytearray(piece)
            del text[width - 2 :: width]
            del text[width - 2 :: width - 1]
            yield bytes(text)
        else:
            # A CRLF is one item.
            pairs = array("H")
            pairs.frombytes(piece)
            del pairs[width // 2 - 1 :: width // 2]
            yield pairs.tobytes()
