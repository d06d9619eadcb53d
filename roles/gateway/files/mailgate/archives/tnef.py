# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files inside winmail.dat ([MS-OXTNEF]), for the policy on attachments.

They are checked, never removed one by one: a winmail.dat with something in it that must not pass is removed as a whole.
Each attachment is recorded twice, as attributes with checksums and as MAPI properties, and the text refers to it by
its position; no program writes a stream with one cut out, and how mail clients parse it is unknown.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SIGNATURE = b"\x78\x9f\x3e\x22"

_HEAD = struct.Struct("<BII")
_MESSAGE, _ATTACHMENT = 1, 2
_BEGIN, _TITLE, _DATA, _PROPERTIES = 0x00069002, 0x00018010, 0x0006800F, 0x00069005
_ATTACH_DATA, _NAMES = 0x3701, (0x3707, 0x3704, 0x3001)
_STRING8, _UNICODE, _OBJECT, _BINARY = 0x001E, 0x001F, 0x000D, 0x0102
_SIZES = {0x02: 4, 0x03: 4, 0x04: 4, 0x0A: 4, 0x0B: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x14: 8, 0x40: 8, 0x48: 16}
_MANY, _NAMED = 0x1000, 0x8000
# Size of the interface identifier before the stream of an object.
_IDENTIFIER = 16


class DamagedError(ValueError):
    """The stream ends or is wrong somewhere."""


def files_inside(stream: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the attachments; further names of the same attachment come without content.

    Raises:
        DamagedError: The stream is damaged; the attachments before that are yielded.
    """
    names: list[str] = []
    contents: list[bytes] = []
    try:
        for level, attribute, data in _attributes(stream):
            if level != _ATTACHMENT:
                continue
            if attribute == _BEGIN:
                yield from _pair(names, contents)
                names, contents = [], []
            elif attribute == _TITLE:
                names.append(_text(data))
            elif attribute == _DATA:
                contents.append(data)
            elif attribute == _PROPERTIES:
                for tag, kind, value in _properties(data):
                    if tag in _NAMES and kind in (_STRING8, _UNICODE):
                        name = value.decode("utf-16-le", "replace") if kind == _UNICODE else _text(value)
                        names.insert(0 if tag == _NAMES[0] else len(names), name)
                    elif tag == _ATTACH_DATA:
                        contents.append(value[_IDENTIFIER:] if kind == _OBJECT else value)
    except (struct.error, KeyError):
        yield from _pair(names, contents)
        raise DamagedError("damaged") from None
    yield from _pair(names, contents)


def _pair(names: list[str], contents: list[bytes]) -> Iterator[tuple[str, bytes]]:
    plain = list(dict.fromkeys(filter(None, (name.rstrip("\0") for name in names)))) or [""] * bool(contents)
    for index in range(max(len(plain), len(contents))):
        yield plain[min(index, len(plain) - 1)], contents[index] if index < len(contents) else b""


def _attributes(stream: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield level, number and data of each attribute (section 2.1.3); of a truncated one, the data there is.

    Real streams may have some bytes after their end.
    """
    offset = len(SIGNATURE) + 2
    while offset + _HEAD.size <= len(stream) and stream[offset] in (_MESSAGE, _ATTACHMENT):
        level, attribute, length = _HEAD.unpack_from(stream, offset)
        offset += _HEAD.size
        yield level, attribute, stream[offset : offset + length]
        offset += length + 2
        if offset > len(stream):
            raise struct.error


def _properties(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield identifier, type and value of each MAPI property (section 2.1.3.4), once for each value."""
    (count,) = struct.unpack_from("<I", data)
    offset = 4
    for _number in range(count):
        kind, tag = struct.unpack_from("<HH", data, offset)
        offset += 4
        if tag >= _NAMED:
            (by_name,) = struct.unpack_from("<I", data, offset + 16)
            offset += 20
            (length,) = struct.unpack_from("<I", data, offset)
            offset += 4 + (_padded(length) if by_name else 0)
        many, kind = kind & _MANY, kind & ~_MANY
        variable = kind in (_STRING8, _UNICODE, _OBJECT, _BINARY)
        values = 1
        if many or variable:
            (values,) = struct.unpack_from("<I", data, offset)
            offset += 4
        for _value in range(values):
            if variable:
                (length,) = struct.unpack_from("<I", data, offset)
                offset += 4
            else:
                length = _SIZES[kind]
            yield tag, kind, data[offset : offset + length]
            offset += _padded(length)
            if offset > len(data):
                raise struct.error


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")
