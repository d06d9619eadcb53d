# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our lines in an admin's file: a marked block that can be removed to the byte. Pure functions, no I/O.

Texts are bytes of any encoding, decoded with `surrogateescape`; line ends are part of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_BEGIN, _END = "BEGIN campus.mailgate", "END campus.mailgate"
# Of a block before which a line end had to be added, which goes with the block.
_ADDED = " (with the line end before it)"


@dataclass(frozen=True)
class Style:
    """How a file has comments.

    Attributes:
        comment: The characters that begin a comment line, with a blank after them if usual: `# `, `dnl # `, `// `.
        end: Characters that end a comment on its line; mostly none.
    """

    comment: str = "# "
    end: str = ""

    def begin(self, about: str, *, added: bool = False) -> str:
        """Return the first line of a block, without line end."""
        return f"{self.comment}{_BEGIN}: {about}{_ADDED if added else ''}{self.end}"

    def finish(self) -> str:
        """Return the last line of a block, without line end."""
        return f"{self.comment}{_END}{self.end}"


HASH = Style()


class BlockError(Exception):
    """The markers in a file are not those of whole blocks, so its blocks cannot be told from other lines."""


@dataclass(frozen=True)
class Block:
    """A block in a text: its lines without markers, and where it begins and ends, with the line end that it added."""

    lines: tuple[str, ...]
    about: str
    start: int
    stop: int


def put(text: str, lines: Sequence[str], about: str, style: Style = HASH, at: int | None = None) -> str:
    """Return `text` with one block of these lines, in place of the one about the same, or with none for no lines.

    Args:
        text: The file's content.
        lines: The lines without line ends.
        about: What the block is for, a few words in one line without parentheses.
        style: The file's comments.
        at: Where a new block begins: the offset of the beginning of a line in the text without this block. By default,
            and at the length of the text, at its end. A present block moves only if this is given.

    Raises:
        BlockError: Markers are incomplete or nested.
    """
    bare, place = text, at
    for block in found(text, style):
        if block.about == about:
            bare = text[: block.start] + text[block.stop :]
            place = block.start if at is None else at
            break
    if not lines:
        return bare
    place = len(bare) if place is None else place
    added = place > 0 and bare[place - 1] != "\n"
    inside = [style.begin(about, added=added), *lines, style.finish()]
    return bare[:place] + ("\n" if added else "") + "".join(f"{line}\n" for line in inside) + bare[place:]


def without(text: str, style: Style = HASH) -> str:
    """Return `text` without any block; `without(put(text, …)) == text`, also if other lines changed meanwhile.

    Raises:
        BlockError: Markers are incomplete or nested.
    """
    for block in reversed(found(text, style)):
        text = text[: block.start] + text[block.stop :]
    return text


def found(text: str, style: Style = HASH) -> list[Block]:
    """Return the blocks in a text, in order.

    Raises:
        BlockError: Markers are incomplete or nested.
    """
    blocks = []
    start, about, inside = -1, "", 0
    for line in re.finditer(r"[^\n]*\n|[^\n]+\Z", text):
        bare = line[0].rstrip("\r\n")
        begins = bare.startswith(f"{style.comment}{_BEGIN}: ")
        ends = bare == style.finish()
        if (begins and start >= 0) or (ends and start < 0):
            number = text.count("\n", 0, line.start()) + 1
            raise BlockError(f"line {number}, {bare!r}: a marker without its counterpart; restore or remove both")
        if begins:
            about = bare.removeprefix(f"{style.comment}{_BEGIN}: ").removesuffix(style.end)
            added = about.endswith(_ADDED)
            about = about.removesuffix(_ADDED)
            start, inside = line.start() - (added and text[line.start() - 1 : line.start()] == "\n"), line.end()
        elif ends:
            lines = text[inside : line.start()].split("\n")[:-1]
            blocks.append(Block(tuple(lines), about, start, line.end()))
            start = -1
    if start >= 0:
        raise BlockError(f"the block about {about!r} has no end, {style.finish()!r}; restore or remove its lines")
    return blocks
