# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files inside archives, by libarchive (Debian: libarchive13, which libarchive-tools needs).

It is called directly, not as bsdtar: bsdtar leaves out the content of a file whose mode is not that of a regular one,
and ends with success. Only the unpacker's process may use this, since libarchive is C and reads hostile data.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

LIBRARY = "libarchive.so.13"
CHUNK = 256 * 1024

_EOF, _OK, _WARN, _RETRY, _FATAL = 1, 0, -20, -10, -30
_DIRECTORY, _TYPE = 0o040000, 0o170000
_MAX_RETRIES = 100
# Filters that libarchive itself decodes; it has others that start a program.
_FILTERS = ("bzip2", "compress", "gzip", "lz4", "lzip", "lzma", "rpm", "uu", "xz", "zstd")
_FORMATS = ("7zip", "ar", "cab", "cpio", "iso9660", "lha", "rar", "rar5", "tar", "warc", "xar", "zip")


class MissingLibraryError(Exception):
    """libarchive is not installed."""


@dataclass
class Reading:
    """What one pass over an archive found.

    Attributes:
        entries: Number of entries other than directories.
        failed: Why some content did not come out; empty if everything did.
        encrypted: Whether the archive says that something in it is encrypted.
    """

    entries: int = 0
    failed: str = ""
    encrypted: bool = False


@cache
def library() -> ctypes.CDLL:
    """Return the library; raise MissingLibraryError."""
    try:
        found = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise MissingLibraryError(f"{LIBRARY} is not installed") from error
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    results = {
        "archive_read_new": pointer,
        "archive_error_string": ctypes.c_char_p,
        "archive_entry_pathname": ctypes.c_char_p,
        "archive_entry_size": ctypes.c_int64,
        "archive_entry_mode": ctypes.c_uint32,
        "archive_read_data": ctypes.c_ssize_t,
    }
    arguments = {
        "archive_read_open_memory": [pointer, ctypes.c_char_p, size],
        "archive_read_next_header": [pointer, ctypes.POINTER(pointer)],
        "archive_read_data": [pointer, pointer, size],
    }
    for name in (*results, *arguments, "archive_entry_size_is_set", "archive_entry_is_encrypted", "archive_read_free",
                 "archive_entry_hardlink", "archive_entry_symlink", "archive_read_has_encrypted_entries"):  # fmt: skip
        function = getattr(found, name)
        function.argtypes = arguments.get(name, [pointer] if name != "archive_read_new" else [])
        function.restype = results.get(name, ctypes.c_int)
    for name in ("archive_entry_hardlink", "archive_entry_symlink"):
        getattr(found, name).restype = ctypes.c_char_p
    return found


def read(
    content: bytes, result: Reading, *, formats: Sequence[str] = _FORMATS, raw: bool = False
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the name and the content, in pieces, of each entry that is not a directory.

    Args:
        content: The archive.
        result: What was found, complete when the iteration ends.
        formats: Names of the formats to recognize.
        raw: Whether compressed data that is no archive is one file, without a name.
    """
    lib = library()
    handle = lib.archive_read_new()
    try:
        for name in _FILTERS:
            getattr(lib, f"archive_read_support_filter_{name}")(ctypes.c_void_p(handle))
        for name in (*formats, *(("raw",) if raw else ())):
            getattr(lib, f"archive_read_support_format_{name}")(ctypes.c_void_p(handle))
        if lib.archive_read_open_memory(handle, content, len(content)) < _WARN:
            result.failed = _error(lib, handle)
            return
        yield from _entries(lib, handle, result)
        if lib.archive_read_has_encrypted_entries(handle) > 0:
            result.encrypted = True
    finally:
        lib.archive_read_free(handle)


def _entries(lib: ctypes.CDLL, handle: int, result: Reading) -> Iterator[tuple[str, Iterator[bytes]]]:
    entry = ctypes.c_void_p()
    buffer = ctypes.create_string_buffer(CHUNK)
    retries = 0
    while (status := lib.archive_read_next_header(handle, ctypes.byref(entry))) != _EOF:
        if status < _WARN or (status == _RETRY and (retries := retries + 1) > _MAX_RETRIES):
            result.failed = _error(lib, handle)
            return
        if status == _RETRY:
            continue
        if lib.archive_entry_is_encrypted(entry):
            result.encrypted = True
        name = (lib.archive_entry_pathname(entry) or b"").decode("utf-8", "replace")
        pieces = _data(lib, handle, entry, buffer, result)
        if lib.archive_entry_mode(entry) & _TYPE == _DIRECTORY:
            # Some formats let a directory have content, which other programs unpack as a file.
            first = next(pieces, b"")
            if not first:
                continue
            pieces = chain((first,), pieces)
        result.entries += 1
        yield name, pieces


def _data(
    lib: ctypes.CDLL, handle: int, entry: ctypes.c_void_p, buffer: ctypes.Array[ctypes.c_char], result: Reading
) -> Iterator[bytes]:
    # A directory or link has a size in some formats, and no content of its own.
    link = lib.archive_entry_hardlink(entry) or lib.archive_entry_symlink(entry)
    other = link or lib.archive_entry_mode(entry) & _TYPE == _DIRECTORY
    expected = lib.archive_entry_size(entry) if lib.archive_entry_size_is_set(entry) and not other else -1
    if link:
        yield link
    total = retries = 0
    while (size := lib.archive_read_data(handle, buffer, CHUNK)) != 0:
        if size == _RETRY and (retries := retries + 1) <= _MAX_RETRIES:
            continue
        if size < 0 and size != _WARN:
            result.failed = _error(lib, handle)
            return
        if size < 0:
            # Its checksum does not match, for example.
            result.failed = _error(lib, handle)
            if (retries := retries + 1) > _MAX_RETRIES:
                return
            continue
        total += size
        yield ctypes.string_at(buffer, size)
    if expected >= 0 and total < expected:
        result.failed = "content is missing"


def _error(lib: ctypes.CDLL, handle: int) -> str:
    return (lib.archive_error_string(handle) or b"damaged").decode("utf-8", "replace")
