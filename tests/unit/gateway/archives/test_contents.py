# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside archives of each format, and what counts as not opened."""

from __future__ import annotations

import base64
import io
import shutil
import tarfile
import zipfile

import pytest
from infected_mail import zipped
from sample_archives import (
    BSDTAR,
    ENCRYPTED_DOCUMENTS,
    MISSING,
    NO_SEVENZIP,
    PLAIN_DOCUMENTS,
    SEVENZIP,
    by_7zz,
    by_bsdtar,
    cab,
    compound,
    inside,
    lha,
    rar4,
    rar5,
    rpm,
    through,
    violations_of,
    without_directory,
    without_sizes,
    zip_with_holes,
)

from mailgate.archives import contents, libarchive, zips

needs_bsdtar = pytest.mark.skipif(not BSDTAR, reason=MISSING)
needs_7zz = pytest.mark.skipif(not SEVENZIP, reason=NO_SEVENZIP)

EXE = b"MZ\x90\0" + bytes(400)
TEXT = b"The notes of the lecture, line by line.\n" * 40
SJIS = "請求書.exe".encode("cp932")
WRITERS = {"rar4": rar4, "rar5": rar5, "cab": cab, "lha": lha}

# One file, run.exe, by 7-Zip with a password: names in plain text, and names encrypted too.
ENCRYPTED_7Z = (
    "N3q8ryccAATCwpkZIAAAAAAAAABaAAAAAAAAANn+iWOqecG4LZ7ET7lfnYENR+qXBLD3oAyU5x1eNIXiAnUOBQEEBgABCSAABwsBAAIkBvEHARJT"
    "D5PJZrRHK5j9e/C0PewC1ekhIQEAAQAMEoGSAAgKAUDbAqgAAAUBGQAREQByAHUAbgAuAGUAeABlAAAAFQYBACCApIEAAA==",
    "N3q8ryccAAQ5m+d0gAAAAAAAAAAuAAAAAAAAAIo6hnH1tnvhKLi50Sb8cR5AJ/S7fDZi6NTOUPRmQhkDyXQhHS3aMdNfi5of/CY6vwi2Ekfv2zr+"
    "bdFGxAdTRf1pr8nrbbUpRrnZAOwMJOFimFMEQrWaoty+qrIcsyvZEK6cw+7N4JWVOxhOQrlIK7NgBROH512ZZLDdLFQgzhZocu760BcGIAEJYAAH"
    "CwEAASQG8QcBElMPQWGyQxLyE09Zdwl3CYUVBAxaCgFCtJ3hAAA=",
)

# Modes of entries for which bsdtar leaves out the content: none, pipe, devices, link, socket, of Windows.
MODES = (0, 0o10644, 0o20644, 0o60644, 0o120777, 0o140644, 0o644, 0o7, 0x20, 0xFFFFFFFF)


def kinds(data: bytes, name: str = "a.bin") -> set[str]:
    return {violation.kind for violation in violations_of((name,), data)}


def problems(data: bytes) -> set[str]:
    return {problem.kind for problem in inside(data)[1]}


def tarred(*entries: tarfile.TarInfo, content: bytes = b"", kind: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as file:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            file.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return out.getvalue()


class TestFormats:
    @pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
    def test_names_and_contents(self, write):
        assert inside(write(EXE, b"letter.txt")) == ({"/letter.txt": EXE}, [])
        assert kinds(write(EXE, b"letter.txt")) == {"real_type"}
        assert kinds(write(b"fine", b"run.exe")) == {"extension"}
        assert kinds(write(b"fine", b"bill.pdf.exe")) == {"extension", "double_extension"}
        assert kinds(write(b"fine", b"letter.txt")) == set()

    @needs_bsdtar
    @pytest.mark.parametrize(("kind", "own"), [("7zip", set()), ("iso9660", {"real_type"})])
    def test_several_files_in_directories(self, kind, own):
        data = by_bsdtar(kind, {"d/letter.txt": b"fine", "d/請求書 2026 of the university.exe": b"x", "e.txt": EXE})
        found, wrong = inside(data)
        assert found["/d/letter.txt"].startswith(b"fine")
        assert found["/e.txt"].startswith(EXE)
        assert wrong == []
        assert kinds(data) == {"extension", "real_type"}
        harmless = by_bsdtar(kind, {"letter.txt": b"fine"})
        assert kinds(harmless) == own, "an image of a disc is a listed type itself"

    @pytest.mark.parametrize("write", [rar4, cab], ids=["rar4", "cab"])
    def test_names_in_other_charsets_are_checked(self, write):
        assert kinds(write(b"x", SJIS)) == {"extension"}

    @needs_7zz
    @pytest.mark.parametrize("method", ["Copy", "Deflate", "Deflate64", "BZip2", "LZMA", "PPMd", "XZ"])
    def test_methods_of_zip(self, method):
        assert inside(by_7zz("zip", {"a.txt": TEXT}, f"-mm={method}"))[1] == []
        assert inside(by_7zz("zip", {"a.txt": TEXT}, f"-mm={method}"))[0]["/a.txt"].startswith(TEXT)

    @needs_7zz
    @pytest.mark.parametrize(
        "method", ["LZMA", "LZMA2", "BZip2", "Deflate", "Deflate64", "PPMd", "Copy", "Delta:4", "BCJ", "ARM", "ARM64",
                   "ARMT", "PPC", "SPARC", "IA64", "RISCV", "Swap2"],
    )  # fmt: skip
    def test_methods_of_7z(self, method):
        filters = (f"-m0={method}", *(("-m1=LZMA2",) if method not in (
            "LZMA", "LZMA2", "BZip2", "Deflate", "Deflate64", "PPMd", "Copy") else ()))  # fmt: skip
        assert inside(by_7zz("7z", {"a.txt": TEXT}, *filters)) == ({"/a.txt": TEXT}, [])

    @needs_bsdtar
    @pytest.mark.parametrize("inner", ["gnutar", "newc", "odc"])
    @pytest.mark.parametrize(
        "program",
        [["gzip"], ["bzip2"], ["xz"], ["xz", "--format=lzma"], ["zstd", "-q"], ["lz4", "-q"], ["lzip"], ["compress"]],
        ids=" ".join,
    )
    def test_compressed_archives(self, inner, program):
        if not shutil.which(program[0]):
            pytest.skip(f"{program[0]} is not installed here")
        data = by_bsdtar(inner, {"a.txt": TEXT})
        packed = through(*program, "-c", data=data)
        assert inside(packed) == ({"": data, "/a.txt": TEXT}, [])
        assert inside(through(*program, "-c", data=TEXT)) == ({"": TEXT}, [])
        # Zeros are an empty tar to libarchive.
        zeros = bytes(2048) + TEXT
        assert inside(through(*program, "-c", data=zeros)) == ({"": zeros}, [])
        if inner != "gnutar":
            assert inside(rpm(packed)) == ({"/a.txt": TEXT}, [])

    @needs_bsdtar
    @pytest.mark.parametrize("kind", ["ar", "v7tar", "pax", "bin", "xar", "warc"])
    def test_other_containers(self, kind):
        found, wrong = inside(by_bsdtar(kind, {"a.txt": TEXT}))
        assert TEXT in b"".join(found.values())
        assert wrong == []

    @needs_7zz
    def test_images(self):
        assert inside(by_7zz("wim", {"a.txt": TEXT}))[0]["/a.txt"] == TEXT


class TestZip:
    PLAIN = zip_with_holes({"a.txt": TEXT, "b.txt": b"x"})

    def test_what_clamd_reads_alike_is_not_sent_again(self):
        assert zips.layout(self.PLAIN).plain
        assert zips.layout(zip_with_holes({"a.txt": TEXT}, streamed=True)).plain
        assert zips.layout(zip_with_holes({"a.txt": TEXT}, zipfile.ZIP_STORED)).plain
        assert not zips.layout(zip_with_holes({"a.txt": TEXT}, zipfile.ZIP_LZMA)).plain
        assert not zips.layout(b"x" + self.PLAIN).plain
        assert not zips.layout(without_directory(self.PLAIN)).plain
        assert not zips.layout(without_sizes(self.PLAIN)).plain

    def test_files_that_the_directory_does_not_list_are_read(self):
        hidden = without_directory(zip_with_holes({"h.exe": EXE}))
        directory = self.PLAIN.index(b"PK\1\2")
        for data in (hidden + self.PLAIN, self.PLAIN[:directory] + hidden + self.PLAIN[directory:]):
            assert inside(data)[0]["/h.exe"].startswith(EXE)

    @needs_7zz
    def test_without_a_directory(self):
        for whole in (self.PLAIN, zip_with_holes({"a.txt": TEXT}, streamed=True)):
            found, wrong = inside(without_directory(whole))
            assert found["/a.txt"].startswith(TEXT)
            assert {problem.kind for problem in wrong} == {"unchecked"}

    def test_without_sizes(self):
        found, wrong = inside(without_sizes(self.PLAIN))
        assert found["/a.txt"].startswith(TEXT) and wrong == []


class TestRar:
    @pytest.mark.parametrize("mode", MODES, ids=oct)
    @pytest.mark.parametrize("system", [0, 2, 3, 5])
    def test_a_file_of_any_mode(self, mode, system):
        assert inside(rar4(EXE, b"a.com", mode=mode, system=system)) == ({"/a.com": EXE}, [])
        assert inside(rar5(EXE, b"a.com", mode=mode, system=system & 1)) == ({"/a.com": EXE}, [])

    @pytest.mark.parametrize("front", [EXE, b"\xff\xd8\xff\xe0 photo \xff\xd9", b"A letter.\r\n" * 99, b"x" * 300_000])
    @pytest.mark.parametrize("write", [rar4, rar5], ids=["rar4", "rar5"])
    def test_behind_something_else(self, write, front):
        assert inside(front + write(EXE, b"a.com"))[0] == {"/a.com": EXE}
        assert inside(zipped(front + write(EXE, b"a.com")))[0]["/x.com/a.com"] == EXE

    def test_a_signature_alone_is_no_archive(self):
        assert inside(EXE + b"Rar!\x1a\x07\0" + bytes(50) + b"Rar!\x1a\x07\1\0" + bytes(50)) == ({}, [])

    def test_a_volume_and_a_damaged_archive_are_not_whole(self):
        volume = bytearray(rar4(EXE, b"a.com"))
        volume[20 + 3] |= 0x02
        assert problems(bytes(volume)) == {"unchecked"}
        for whole in (rar4(EXE, b"a.com"), rar5(EXE, b"a.com")):
            assert problems(whole[:-200]) == {"unchecked"}


class TestNotOpened:
    @pytest.mark.parametrize("write", [rar4, rar5], ids=["rar4", "rar5"])
    def test_encrypted_rar(self, write):
        for data in (write(EXE, b"a", encrypted=True), write(EXE, b"a", head_encrypted=True)):
            for outer in (data, zipped(data), cab(data, b"b.rar"), EXE + data):
                assert problems(outer) == {"encrypted"}

    def test_encrypted_7z_and_zip(self):
        for text in ENCRYPTED_7Z:
            assert problems(zipped(base64.b64decode(text))) == {"encrypted"}

    @pytest.mark.parametrize("name", ENCRYPTED_DOCUMENTS)
    def test_documents_with_a_password(self, name):
        document = ENCRYPTED_DOCUMENTS[name]
        for outer in (document, zipped(document), rar5(document, b"a.doc")):
            assert problems(outer) == {"encrypted"}

    def test_open_document_with_a_password(self):
        manifest = b"<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"
        assert problems(zip_with_holes({"META-INF/manifest.xml": manifest})) == {"encrypted"}
        assert problems(zip_with_holes({"META-INF/manifest.xml": b"<manifest:file-entry/>"})) == set()

    @pytest.mark.parametrize("name", PLAIN_DOCUMENTS)
    def test_documents_without_one(self, name):
        assert inside(PLAIN_DOCUMENTS[name]) == ({}, [])

    def test_compound_files_of_any_size_are_read(self):
        many = {f"s{number}": bytes(9000) for number in range(300)}
        assert problems(compound({**many, "EncryptedPackage": b"x"})) == {"encrypted"}

    @needs_bsdtar
    def test_damaged_archives(self):
        for whole in (
            rar4(EXE, b"a.txt"),
            rar5(EXE, b"a.txt"),
            cab(EXE, b"a.txt"),
            by_bsdtar("7zip", {"a.txt": EXE * 9}),
            lha(EXE, b"a.exe", b"-lh5-"),
        ):
            assert problems(whole[: -len(whole) // 3]) == {"unchecked"}

    def test_formats_that_nothing_opens(self):
        for data in (b"RE~^" + bytes(90), bytes(7) + b"**ACE**" + bytes(90), b"SIT!" + bytes(90)):
            assert problems(data) == {"unchecked"}

    @pytest.mark.parametrize("start", [b"\x1f\x8b", b"BZh", b"\x1f\x9d", b"\x60\xea", b"\xc7\x71", b"\x71\xc7"])
    def test_data_that_begins_like_an_archive_by_chance(self, start):
        assert inside(start + b"\xff" * 500) == ({}, [])

    @pytest.mark.slow
    def test_too_much(self):
        nested = EXE
        for _ in range(contents.MAX_DEPTH + 2):
            nested = cab(nested, b"a.cab")
        assert problems(nested) == {"unchecked"}
        found = list(contents.Contents(max_size=100).inside(zipped(EXE, "a")))
        assert [item.kind for item in found if isinstance(item, contents.Problem)] == ["unchecked"]
        large = tarfile.TarInfo("large")
        found, wrong = inside(through("gzip", "-1", data=tarred(large, content=bytes(contents.MAX_NESTED + 1))))
        assert len(found["/large"]) == contents.MAX_NESTED + 1 and wrong == []
        found = list(contents.Contents(max_files=1).inside(zip_with_holes({"a": b"", "b": b""})))
        assert [item.kind for item in found if isinstance(item, contents.Problem)] == ["unchecked"]

    def test_links_devices_and_paths_are_only_names(self):
        entries = []
        for kind in (tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE):
            entries.append(tarfile.TarInfo(f"/etc/../{kind.decode()}"))
            entries[-1].type, entries[-1].linkname = kind, "/etc/passwd"
        found, wrong = inside(tarred(*entries))
        assert wrong == []
        assert set(found.values()) <= {b"", b"/etc/passwd"}

    def test_without_the_library(self, monkeypatch):
        monkeypatch.setattr(libarchive, "LIBRARY", "libnone.so.1")
        libarchive.library.cache_clear()
        with pytest.raises(libarchive.MissingLibraryError):
            inside(rar4(EXE, b"a"))
        libarchive.library.cache_clear()
