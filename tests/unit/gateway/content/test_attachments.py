# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attachments: file types, names, nested archives, actions and policies by domain."""

from __future__ import annotations

import bz2
import ctypes
import ctypes.util
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infected_mail import HEAD, TEXT, b64, multi, part, zipped
from sample_archives import lha, rar4, rar5, violations_of

from mailgate.archives import archive, contents
from mailgate.config import ACTIONS, Attachments
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy, by_policy, strictest
from mailgate.content.screen import Rules, screen
from mailgate.scan.clamd import CLEAN
from mailgate.smtp.address import Mailbox

EXE = b"MZ\x90\0" + bytes(200)


ELF = b"\x7fELF\2\1\1" + bytes(200)


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000)


MACRO_OLE = OLE + "_VBA_PROJECT".encode("utf-16-le")


LISTS = Attachments()


def tarred(content: bytes, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        entry = tarfile.TarInfo("x.exe")
        entry.size = len(content)
        file.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def encrypted_zip(name: str = "x.txt") -> bytes:
    data = bytearray(zipped(b"secret", name))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def kinds(name: str, data: bytes, *more: str) -> set[str]:
    return {violation.kind for violation in violations_of((name, *more), data)}


async def clean(_pieces):
    return CLEAN


def judge(raw: bytes, **words: str):
    rules = Rules(ContentPolicy(**words), LISTS, Notice("en", "gw1.univ.example"), number="abc123")
    return screen(raw, clean, rules)


MAIL = HEAD + multi(
    TEXT, part(b64(EXE), b"application/x; name=setup.exe"), part(b64(b"fine"), b"text/plain; name=a.txt")
)


class TestFileTypes:
    @pytest.mark.parametrize(
        ("name", "data", "expected"),
        [
            ("letter.txt", b"hello", set()),
            ("", b"hello", set()),
            ("photo.jpg", b"\xff\xd8\xff\xe0", set()),
            ("setup.exe", b"hello", {"extension"}),
            ("SETUP.EXE. ", b"hello", {"extension"}),
            ("bill.pdf.exe", b"hello", {"extension", "double_extension"}),
            ("bill.pdf          .scr", b"hello", {"extension", "double_extension"}),
            ("report.2026.pdf", b"%PDF-1.7", set()),
            ("backup.tar.gz", gzip.compress(tarred(b"x")), {"extension"}),
            ("photo\u202egpj.exe", b"hello", {"extension", "double_extension"}),
            ("photo_\u202egnp.txt", b"hello", {"double_extension"}),
            ("=?utf-8?b?eC5leGU=?=", b"hello", {"extension"}),
            ("letter.txt", EXE, {"real_type"}),
            ("letter.txt", ELF, {"real_type"}),
            ("x", b"#!/bin/sh\n", {"real_type"}),
            ("a.doc", OLE, set()),
            ("a.doc", MACRO_OLE, {"macro"}),
            ("a.docx", zipped(b"x", "word/document.xml"), set()),
            ("a.docx", zipped(b"x", "word/vbaProject.bin"), {"macro"}),
            ("a.doc", OLE + "EncryptedPackage".encode("utf-16-le"), {"encrypted_archive"}),
            ("a.zip", zipped(EXE, "a.txt"), {"real_type"}),
            ("a.zip", zipped(b"x", "a.exe"), {"extension"}),
            ("a.zip", zipped(zipped(gzip.compress(EXE), "a.gz"), "b.zip"), {"real_type"}),
            ("a.zip", zipped(MACRO_OLE, "a.doc"), {"macro"}),
            ("a.zip", encrypted_zip(), {"encrypted_archive"}),
            ("a.zip", encrypted_zip("a.exe"), {"encrypted_archive", "extension"}),
            ("a.zip", zipped(b"x" * 999, "a.txt")[:-60], {"encrypted_archive"}),
            ("a.tar", tarred(EXE), {"real_type", "extension"}),
            ("a.tgz", tarred(EXE, "w:gz"), {"real_type", "extension"}),
            ("a.tar.bz2", bz2.compress(tarred(EXE)), {"real_type", "extension"}),
            ("a.exe.xz", lzma.compress(b"x"), {"extension"}),
            ("a.gz", gzip.compress(b"x" * 500)[:-20], {"encrypted_archive"}),
            ("a.jar", zipped(b"x", "META-INF/MANIFEST.MF"), {"extension", "real_type"}),
            ("bomb.gz", gzip.compress(bytes(contents.MAX_UNPACKED + 1), 1), {"encrypted_archive"}),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )  # fmt: skip
    def test_kinds_of_files(self, name, data, expected):
        assert kinds(name, data) == expected

    def test_every_name_of_a_part_is_checked(self):
        assert kinds("letter.txt", b"x", "run.exe") == {"extension"}

    def test_archives_nested_too_deep_or_with_too_many_files_cannot_be_opened(self):
        nested = EXE
        for _ in range(contents.MAX_DEPTH + 2):
            nested = zipped(nested, "a.zip")
        assert "encrypted_archive" in kinds("a.zip", nested)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as file:
            for number in range(contents.MAX_FILES + 1):
                file.writestr(f"{number}", b"")
        assert kinds("a.zip", out.getvalue()) == {"encrypted_archive"}

    @settings(max_examples=30, deadline=None)
    @given(
        st.sampled_from([b"", b"PK\3\4", b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0", bytes(257) + b"ustar"]),
        st.binary(max_size=300),
    )
    def test_any_content_can_be_inspected(self, start, rest):
        kinds("a.bin", start + rest)

    @settings(max_examples=10, deadline=None)
    @given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 255))
    def test_damaged_archives_can_be_inspected(self, content, at, byte):
        for whole in (
            zipped(content),
            tarred(content),
            gzip.compress(content),
            bz2.compress(content),
            lzma.compress(content),
        ):
            damaged = bytearray(whole)
            damaged[at % len(damaged)] = byte
            kinds("a.bin", bytes(damaged))

    def test_detected_types_agree_with_libmagic(self):
        """Compare the table of types with libmagic, if it is installed."""
        library = ctypes.util.find_library("magic")
        if not library:
            pytest.skip("libmagic is not installed here (apt-get install libmagic1)")
        magic = ctypes.CDLL(library)
        magic.magic_open.restype = ctypes.c_void_p
        magic.magic_buffer.restype = ctypes.c_char_p
        cookie = ctypes.c_void_p(magic.magic_open(0x10))
        if magic.magic_load(cookie, None):
            pytest.skip("libmagic has no database here")
        samples = {
            "zip": zipped(b"x"), "gz": gzip.compress(b"x"), "bz2": bz2.compress(b"x"), "xz": lzma.compress(b"x"),
            "tar": tarred(b"x"), "pdf": b"%PDF-1.7\n",
                "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "rtf": b"{\\rtf1\\ansi x}",
            "gif": b"GIF89a\1\0\1\0", "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0", "sh": b"#!/bin/sh\necho\n",
            "7z": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(30), "rar": b"Rar!\x1a\x07\x01\0" + bytes(30),
            "lnk": b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F" + bytes(60),
            "tnef": b"\x78\x9f\x3e\x22" + bytes(30),
            "rar4": rar4(b"x", b"a.txt"), "rar5": rar5(b"x", b"a.txt"),
            "lha": lha(b"x", b"a.txt"), "iso": bytes(0x8000) + b"\1CD001\1" + bytes(2041),
        }  # fmt: skip
        for name, data in samples.items():
            theirs = magic.magic_buffer(cookie, data, ctypes.c_size_t(len(data))).decode()
            assert archive.real_type(data) == theirs, name


class TestActions:
    @pytest.mark.parametrize("size", [0, 100_000])
    async def test_actions_on_attachments(self, size):
        raw = MAIL.replace(b"hello", b"hello" + b"\r\n" * size)
        assert (await judge(raw)).content == raw
        stripped = await judge(raw, extension="strip")
        before, after = raw.split(part(b64(EXE), b"application/x; name=setup.exe"))
        assert stripped.content.startswith(before)
        assert stripped.content.endswith(after)
        assert (stripped.removed, stripped.keep, stripped.action) == (("setup.exe",), False, "deliver")
        refused = await judge(raw, real_type="refuse", extension="strip")
        assert str(refused.refusal) == "554 5.7.0 Attachment not allowed: setup.exe: application/x-dosexec"
        kept = await judge(raw, extension="quarantine")
        assert (kept.removed, kept.keep) == (("setup.exe",), True)
        assert (await judge(raw, macro="refuse", encrypted_archive="refuse")).content == raw

    async def test_an_attachment_that_is_the_whole_message_or_in_an_ambiguous_one_is_rejected(self):
        alone = HEAD + part(b64(EXE), b"application/x; name=setup.exe")
        assert (await judge(alone, extension="strip")).refusal
        broken = MAIL.replace(b"--b--", b"--c--")
        assert (await judge(broken)).content == broken
        assert (await judge(broken, real_type="strip")).refusal

    async def test_a_uuencoded_file_is_removed_from_the_text(self):
        from infected_mail import uu

        raw = HEAD + b"\r\nbefore\r\n" + uu(EXE, "run.exe") + b"\r\nafter\r\n"
        judged = await judge(raw, extension="strip")
        assert judged.content.startswith(HEAD + b"\r\nbefore\r\n[ The attachment run.exe is of a kind")
        assert judged.content.endswith(b"]\r\nafter\r\n")


class TestPolicies:
    def test_recipients_are_grouped_by_policy(self):
        campus = ContentPolicy()
        own = {
            "a.example": {"infected": "discard", "macro": "strip"},
            "*.lab.example": {"infected": "quarantine"},
            "x.lab.example": {"infected": "refuse", "over_limits": "refuse"},
        }
        to = {
            name: Mailbox("x", name)
            for name in ("a.example", "b.example", "c.example", "y.lab.example", "x.lab.example")
        }
        groups = by_policy(campus, own, list(to.values()))
        assert groups[campus] == [to["b.example"], to["c.example"]]
        assert {policy.infected: found for policy, found in groups.items() if policy != campus} == {
            "discard": [to["a.example"]],
            "quarantine": [to["y.lab.example"]],
            "refuse": [to["x.lab.example"]],
        }
        assert by_policy(campus, {}, list(to.values())) == {campus: list(to.values())}

    def test_what_the_strictest_policy_passes_unchanged_all_pass(self):
        words = {kind: st.sampled_from(ACTIONS[kind]) for kind in ACTIONS}

        @given(st.lists(st.builds(ContentPolicy, **words), min_size=1, max_size=4), st.sampled_from(sorted(ACTIONS)))
        def check(policies, kind):
            word = getattr(strictest(policies), kind)
            assert word in [getattr(policy, kind) for policy in policies]
            if word in ("allow", "deliver"):
                assert {getattr(policy, kind) for policy in policies} == {word}

        check()
