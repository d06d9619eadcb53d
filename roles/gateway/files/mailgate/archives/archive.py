# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real types of files by their first bytes."""

from __future__ import annotations

from collections.abc import Callable

from mailgate.archives import ole, rar, tnef

ZIP = "application/zip"
JAR = "application/java-archive"
OLE = "application/x-ole-storage"
RAR = "application/x-rar"
SEVEN_ZIP = "application/x-7z-compressed"
ISO = "application/x-iso9660-image"
TNEF = "application/vnd.ms-tnef"
DISK = "application/x-raw-disk-image"
TAR = "application/x-tar"
CPIO = "application/x-cpio"
LZMA = "application/x-lzma"
# Formats that no program here opens, and clamd does not either.
CLOSED = frozenset({
    "application/x-ace", "application/x-zoo", "application/x-stuffit", "application/x-lrzip", "application/x-lzop",
    "application/x-rar-old", "application/x-zpaq",
})  # fmt: skip
_MSI = b"\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00F"

_LHA = (b"lh0", b"lh1", b"lh2", b"lh3", b"lh4", b"lh5", b"lh6", b"lh7", b"lhd", b"lzs", b"lz4", b"lz5")

# A table in place of libmagic: no C parser reads hostile data in the process that handles all mail, and the names are
# the same on every host. The names are libmagic's (`file --mime-type`), except for OLE and the types derived from it.
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"MZ", "application/x-dosexec"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (0, b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xca\xfe\xba\xbe", "application/x-java-applet"),
    (0, b"#!", "text/x-shellscript"),
    (0, b"L\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
    (0, b"ITSF", "application/vnd.ms-htmlhelp"),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"PK00PK\x03\x04", ZIP),
    (0, b"PK\x06\x06", ZIP),
    (0, b"PK\x07\x08", ZIP),
    (0, ole.SIGNATURE, OLE),
    (0, rar.SIGNATURE, RAR),
    (0, b"RE~^", "application/x-rar-old"),
    (0, b"7z\xbc\xaf\x27\x1c", SEVEN_ZIP),
    (0, b"MSCF", "application/vnd.ms-cab-compressed"),
    *((2, b"-%b-" % method, "application/x-lzh-compressed") for method in _LHA),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    *((0, b"%c\x2a\x4d\x18" % byte, "application/zstd") for byte in range(0x50, 0x60)),
    (0, b"\x04\x22\x4d\x18", "application/x-lz4"),
    (0, b"\x02\x21\x4c\x18", "application/x-lz4"),
    (0, b"LZIP", "application/x-lzip"),
    (0, b"\x1f\x9d", "application/x-compress"),
    (0, b"\x60\xea", "application/x-arj"),
    (0, b"!<arch>\n", "application/x-archive"),
    (0, b"xar!", "application/x-xar"),
    (0, b"\xed\xab\xee\xdb", "application/x-rpm"),
    *((0, magic, CPIO) for magic in (b"070701", b"070702", b"070707", b"\xc7\x71", b"\x71\xc7")),
    (0, b"MSWIM\0\0\0", "application/x-ms-wim"),
    (0, b"WARC/", "application/warc"),
    *((0, magic, "application/x-squashfs") for magic in (b"hsqs", b"sqsh")),
    (0, b"vhdxfile", DISK),
    (0, b"conectix", DISK),
    (0, b"KDMV", DISK),
    (0, b"QFI\xfb", DISK),
    (3, b"NTFS    ", DISK),
    (7, b"**ACE**", "application/x-ace"),
    (20, b"\xdc\xa7\xc4\xfd", "application/x-zoo"),
    (0, b"StuffIt", "application/x-stuffit"),
    (0, b"SIT!", "application/x-stuffit"),
    (0, b"LRZI", "application/x-lrzip"),
    (0, b"\x89LZO\0\r\n\x1a\n", "application/x-lzop"),
    (0, b"7kSt", "application/x-zpaq"),
    (0, b"zPQ", "application/x-zpaq"),
    (257, b"ustar", TAR),
    (0x8001, b"CD001", ISO),
    (0x8001, b"BEA01", ISO),
    (0x8001, b"NSR0", ISO),
    (0, tnef.SIGNATURE, TNEF),
    (0, b"%PDF-", "application/pdf"),
    (0, b"{\\rtf", "text/rtf"),
    (0, b"FWS", "application/x-shockwave-flash"),
    (0, b"CWS", "application/x-shockwave-flash"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
)
UNKNOWN = "application/octet-stream"  # language: quoted


_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
# Signatures of two or three bytes: other data may begin with them by chance, and would count as a damaged archive.
_CHECKS: dict[str, Callable[[bytes], bool]] = {
    "application/gzip": lambda data: data[2:3] == b"\x08",
    "application/x-bzip2": lambda data: data[3:4].isdigit() and data[4:10] in _BLOCKS,
    "application/x-compress": lambda data: 9 <= int.from_bytes(data[2:3], "big") & 0x1F <= 16,
    "application/x-arj": lambda data: 30 <= int.from_bytes(data[2:4], "little") <= 2600,
    CPIO: lambda data: data.startswith(b"0707") or _is_old_cpio(data),
}


def _is_old_cpio(data: bytes) -> bool:
    """Return whether the length of the first name is a usual one, in the byte order of the signature."""
    return 1 <= int.from_bytes(data[20:22], "little" if data.startswith(b"\xc7") else "big") <= 1024


# Formats whose files are looked at one by one.
ARCHIVES = CLOSED | {
    ZIP, RAR, ISO, TNEF, TAR, LZMA, DISK, JAR, SEVEN_ZIP,
    "application/vnd.ms-cab-compressed", "application/x-lzh-compressed", "application/gzip", "application/x-bzip2",
    "application/x-xz", "application/zstd", "application/x-lz4", "application/x-lzip", "application/x-compress",
    "application/x-arj", "application/x-archive", "application/x-xar", "application/x-rpm", CPIO,
    "application/x-ms-wim", "application/warc", "application/x-squashfs",
}  # fmt: skip
_BEGINNINGS = tuple(
    signature for offset, signature, kind in SIGNATURES if offset == 0 and (kind in ARCHIVES or kind == OLE)
)
_SECTOR = 512
_SMALLEST_DISK = 64 * 1024


def real_type(content: bytes) -> str:
    """Return the MIME type by content, UNKNOWN if it is not in the table."""
    found = next((kind for offset, signature, kind in SIGNATURES if content.startswith(signature, offset)), UNKNOWN)
    if found == ZIP and b"META-INF/MANIFEST.MF" in content and b"word/" not in content:
        return JAR
    if found == OLE and _MSI in content[:4096]:
        return "application/x-msi"
    if found == UNKNOWN or (found in _CHECKS and not _CHECKS[found](content)):
        return _by_structure(content)
    return found


def may_begin(head: bytes) -> bool:
    """Return whether a file with these first bytes, at least 520, may be one of ARCHIVES or an Office document."""
    return (
        head.startswith(_BEGINNINGS)
        or head[2:4] == b"-l"
        or head[7:14] == b"**ACE**"
        or head[20:24] == b"\xdc\xa7\xc4\xfd"
        or head[3:11] == b"NTFS    "
        or head[257:262] == b"ustar"
        or head[510:512] == b"\x55\xaa"
        # An image of a disc begins with zeros only.
        or not head.strip(b"\0 \r\n")
        or (len(head) > 13 and head[13] == 0 and _is_lzma(head))
        or _is_old_tar(head)
    )


def _by_structure(content: bytes) -> str:
    """Return the type of a file that has no signature."""
    if _is_lzma(content):
        return LZMA
    if _is_old_tar(content):
        return TAR
    if content[510:512] == b"\x55\xaa" and len(content) >= _SMALLEST_DISK and len(content) % _SECTOR == 0:
        return DISK
    if content[-_SECTOR:].startswith(b"conectix"):
        return DISK
    return UNKNOWN


def _is_lzma(content: bytes) -> bool:
    """Return whether it begins like an .lzma file: properties, a usual dictionary size, the size or none."""
    if len(content) < 14 or content[0] >= 225 or content[13] != 0:
        return False
    dictionary = int.from_bytes(content[1:5], "little")
    size = int.from_bytes(content[5:13], "little")
    usual = dictionary == 0xFFFFFFFF or (
        dictionary >= 4096 and dictionary.bit_count() <= 2 and dictionary & (dictionary - 1) in (0, dictionary // 3 * 2)
    )
    return usual and (size == 0xFFFFFFFFFFFFFFFF or 0 < size < 1 << 38)


def _is_old_tar(content: bytes) -> bool:
    """Return whether it begins with a header of tar without a signature, by its checksum."""
    field = content[148:156].strip(b" \0")
    if len(content) < _SECTOR or not field.isdigit() or len(field) > 6 or not content[0]:
        return False
    try:
        wanted = int(field, 8)
    except ValueError:
        return False
    return wanted == sum(content[:148]) + 8 * 32 + sum(content[156:_SECTOR])


def has_macros(content: bytes, kind: str) -> bool:
    """Return whether an Office document, old (OLE) or new (zip), has macros."""
    if kind == OLE:
        return any(name.encode("utf-16-le") in content for name in ("_VBA_PROJECT", "_xlm"))
    return kind == ZIP and any(name in content for name in (b"vbaProject.bin", b"xl/macrosheets/"))
