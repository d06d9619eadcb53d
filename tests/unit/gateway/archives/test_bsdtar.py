# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that bsdtar opens: names and contents, limits, and a program that fails."""

from __future__ import annotations

import base64
import gzip
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infected_mail import HEAD, TEXT, b64, multi, part, zipped
from sample_archives import BSDTAR, MISSING, by_bsdtar, cab, lha, rar4, rar5

from mailgate.archives import archive, bsdtar
from mailgate.config import Attachments
from mailgate.content.attachments import violations
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy
from mailgate.content.screen import Rules, screen
from mailgate.scan.clamd import CLEAN

needs_bsdtar = pytest.mark.skipif(not BSDTAR, reason=MISSING)


EXE = b"MZ\x90\0" + bytes(400)


LISTS = Attachments()


SJIS = "請求書.exe".encode("cp932")


WRITERS = {"rar4": rar4, "rar5": rar5, "cab": cab, "lha": lha}


def kinds(data: bytes, name: str = "a.bin") -> set[str]:
    return {violation.kind for violation in violations((name,), data, LISTS)}


def inside(data: bytes) -> list[tuple[str, bytes]]:
    return list(archive.files_inside(data, archive.real_type(data), archive.Bounds()))


# One file, run.exe, by 7-Zip with a password: names in plain text, and names encrypted too.
ENCRYPTED_7Z = (
    "N3q8ryccAATCwpkZIAAAAAAAAABaAAAAAAAAANn+iWOqecG4LZ7ET7lfnYENR+qXBLD3oAyU5x1eNIXiAnUOBQEEBgABCSAABwsBAAIkBvEHARJT"
    "D5PJZrRHK5j9e/C0PewC1ekhIQEAAQAMEoGSAAgKAUDbAqgAAAUBGQAREQByAHUAbgAuAGUAeABlAAAAFQYBACCApIEAAA==",
    "N3q8ryccAAQ5m+d0gAAAAAAAAAAuAAAAAAAAAIo6hnH1tnvhKLi50Sb8cR5AJ/S7fDZi6NTOUPRmQhkDyXQhHS3aMdNfi5of/CY6vwi2Ekfv2zr+"
    "bdFGxAdTRf1pr8nrbbUpRrnZAOwMJOFimFMEQrWaoty+qrIcsyvZEK6cw+7N4JWVOxhOQrlIK7NgBROH512ZZLDdLFQgzhZocu760BcGIAEJYAAH"
    "CwEAASQG8QcBElMPQWGyQxLyE09Zdwl3CYUVBAxaCgFCtJ3hAAA=",
)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Replace bsdtar by a shell script."""

    def write(text: str) -> None:
        path = tmp_path / "bsdtar"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return write


async def clean(_pieces):
    return CLEAN


class TestContents:
    @needs_bsdtar
    @pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
    def test_names_and_contents(self, write):
        assert inside(write(EXE, b"letter.txt")) == [("letter.txt", EXE)]
        assert kinds(write(EXE, b"letter.txt")) == {"real_type"}
        assert kinds(write(b"fine", b"run.exe")) == {"extension"}
        assert kinds(write(b"fine", b"bill.pdf.exe")) == {"extension", "double_extension"}
        assert kinds(write(b"fine", b"letter.txt")) == set()

    @needs_bsdtar
    @pytest.mark.parametrize(("kind", "own"), [("7zip", set()), ("iso9660", {"real_type"})])
    def test_several_files_in_directories(self, kind, own):
        data = by_bsdtar(kind, {"d/letter.txt": b"fine", "d/請求書 2026 of the university.exe": b"x", "e.txt": EXE})
        found = dict(inside(data))
        assert found["d/letter.txt"] == b"fine"
        assert found["e.txt"] == EXE
        assert len(found) == 3
        assert kinds(data) == {"extension", "real_type"}
        harmless = by_bsdtar(kind, {"letter.txt": b"fine"})
        assert kinds(harmless) == own, "an image of a disc is a listed type itself"

    @needs_bsdtar
    @pytest.mark.parametrize("write", [rar4, cab], ids=["rar4", "cab"])
    def test_names_in_other_charsets_are_checked(self, write):
        assert kinds(write(b"x", SJIS)) == {"extension"}

    @needs_bsdtar
    @pytest.mark.parametrize("write", [rar4, rar5], ids=["rar4", "rar5"])
    def test_encrypted_archives_show_their_names_only(self, write):
        assert kinds(write(EXE, b"run.exe", encrypted=True)) == {"extension", "encrypted_archive"}
        assert kinds(write(EXE, b"letter.txt", encrypted=True)) == {"encrypted_archive"}
        assert kinds(write(EXE, b"run.exe", head_encrypted=True)) == {"encrypted_archive"}

    @needs_bsdtar
    def test_encrypted_7z_shows_its_names_only(self):
        shown, hidden = (base64.b64decode(text) for text in ENCRYPTED_7Z)
        assert kinds(shown) == {"extension", "encrypted_archive"}
        assert kinds(hidden) == {"encrypted_archive"}

    @needs_bsdtar
    def test_damaged_archives_cannot_be_opened(self):
        for whole in (
            rar4(EXE, b"a.txt"),
            rar5(EXE, b"a.txt"),
            cab(EXE, b"a.txt"),
            by_bsdtar("7zip", {"a.txt": EXE * 9}),
        ):
            assert "encrypted_archive" in kinds(whole[: -len(whole) // 3])
        assert kinds(lha(EXE, b"a.exe", b"-lh5-")) >= {"encrypted_archive"}

    @needs_bsdtar
    def test_nested_archives(self):
        assert kinds(zipped(rar5(lha(EXE, b"a.txt"), b"b.lzh"), "c.rar")) == {"real_type"}
        assert kinds(cab(zipped(rar4(b"x", b"a.js"), "b.rar"), b"c.zip")) == {"extension"}
        nested = EXE
        for _ in range(archive.MAX_DEPTH + 2):
            nested = cab(nested, b"a.cab")
        assert "encrypted_archive" in kinds(nested)

    @needs_bsdtar
    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(sorted(WRITERS)), st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
    def test_any_content_can_be_inspected(self, name, content, at, byte):
        damaged = bytearray(WRITERS[name](content, b"a.txt"))
        damaged[at % len(damaged)] = byte
        kinds(bytes(damaged))


class TestLimits:
    @needs_bsdtar
    def test_bombs_are_limited(self, monkeypatch):
        data = by_bsdtar("7zip", {"zeros": bytes(archive.MAX_UNPACKED + 1)})
        assert len(data) < 100_000
        started = time.monotonic()
        assert kinds(data) == {"encrypted_archive"}
        assert time.monotonic() - started < 15
        many = by_bsdtar("7zip", {f"{number}": b"" for number in range(archive.MAX_FILES + 1)})
        assert kinds(many) == {"encrypted_archive"}
        monkeypatch.setattr(archive, "MAX_SECONDS", 0.0)
        assert kinds(cab(EXE, b"a.txt")) == {"encrypted_archive"}

    def test_a_program_that_hangs_is_ended(self, program, monkeypatch):
        program("exec sleep 60")
        monkeypatch.setattr(archive, "MAX_SECONDS", 0.3)
        started = time.monotonic()
        [violation] = violations(("a.cab",), cab(EXE, b"a.txt"), LISTS)
        assert violation.what.startswith(
            ("cannot be unpacked (takes too long", "cannot be unpacked (exceeds the limits")
        )
        assert time.monotonic() - started < 2

    def test_a_program_with_excessive_or_invalid_output_is_ended(self, program):
        program("exec cat /dev/zero")
        assert kinds(cab(EXE, b"a.txt")) == {"encrypted_archive"}
        program("exec head -c 100000 /dev/urandom")
        assert "encrypted_archive" in kinds(cab(EXE, b"a.txt"))

    def test_the_program_has_limits_and_an_empty_environment(self, program, tmp_path, monkeypatch):
        monkeypatch.setenv("SECRET", "x")
        program(f"ulimit -a; export -p; trap '' 25; echo x >{tmp_path}/written; exit 1")
        bounds = archive.Bounds()
        names = []
        with pytest.raises(bsdtar.UnpackError, match="encrypted or damaged"):
            names += (
                name for name, _ in archive.files_inside(cab(EXE, b"a"), "application/vnd.ms-cab-compressed", bounds)
            )
        text = "\n".join(names)
        for limit in (
            "file(blocks)         0",
            f"time(seconds)        {bsdtar.CPU_SECONDS}",
            "coredump(blocks)     0",
        ):
            assert limit in text
        assert f"vmemory(kbytes)      {bsdtar.ADDRESS_SPACE // 1024}" in text
        assert "SECRET" not in text
        assert (tmp_path / "written").read_bytes() == b""

    def test_without_the_program_archives_cannot_be_opened(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        [violation] = violations(("a.rar",), rar5(EXE, b"a.exe"), LISTS)
        assert (violation.kind, violation.what) == (
            "encrypted_archive",
            "cannot be unpacked (bsdtar is not installed on the gateway)",
        )


class TestEventLoop:
    @needs_bsdtar
    @pytest.mark.parametrize("size", [0, 100_000])
    async def test_the_event_loop_does_not_wait_for_the_program(self, size, monkeypatch):
        here = threading.get_ident()
        where = []
        files_inside = bsdtar.files_inside

        def note(*args):
            where.append(threading.get_ident())
            return files_inside(*args)

        monkeypatch.setattr(bsdtar, "files_inside", note)
        raw = HEAD + multi(TEXT, part(b64(rar5(EXE + bytes(size), b"a.txt")), b"application/x; name=a.rar"))
        rules = Rules(ContentPolicy(real_type="strip"), LISTS, Notice("en", "gw1.univ.example"))
        judged = await screen(raw, clean, rules)
        assert judged.removed == ("a.rar",)
        assert where
        assert here not in where

    async def test_the_event_loop_unpacks_no_bombs(self):
        bomb = gzip.compress(bytes(archive.INLINE_SIZE * 4), 9)
        with pytest.raises(archive.MustWaitError):
            list(violations(("a.gz",), bomb, LISTS, wait=False))
        assert kinds(bomb, "a.gz") == set()
