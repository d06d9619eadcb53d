# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""File names in the fields of a part, in all forms: mail readers differ in those that they use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

_NAME = re.compile(
    rb'[;\s](?:file)?name(\*[0-9]*)?(\*?)[ \t]*=[ \t]*(?:\r\n[ \t]+)?(?:"((?:[^"\\\r\n]|\\.)*)"?|([^;\s]*))',
    re.IGNORECASE,
)
_QUOTED_PAIR = re.compile(rb"\\(.)")


def all_names(fields: Iterable[bytes]) -> tuple[str, ...]:
    """Return every file name in these fields, without duplicates: each that is given, in all forms, and pieces joined.

    Args:
        fields: Values of Content-Type and Content-Disposition.
    """
    return tuple(dict.fromkeys(name for field in fields for name in _in_field(b" " + field) if name))


def _in_field(field: bytes) -> Iterator[str]:
    pieces: dict[bytes, str] = {}
    for found in _NAME.finditer(field):
        number, star, quoted, bare = found.groups(default=b"")
        text = _QUOTED_PAIR.sub(rb"\1", quoted) or bare
        if star or number == b"*":
            # The charset and language before the value (RFC 2231 section 4) are in the first piece only.
            text = unquote_to_bytes(text.split(b"'", 2)[-1])
        name = text.decode("utf-8", "replace").strip()
        if len(number) > 1:
            pieces[number] = name
        else:
            yield name
            if b";" in quoted:
                yield quoted.partition(b";")[0].decode("utf-8", "replace")
    yield "".join(pieces.values())
    yield "".join(pieces[number] for number in sorted(pieces, key=lambda number: int(number[1:])))
