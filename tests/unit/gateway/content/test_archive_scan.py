# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Viruses in archives that clamd does not open, and archives that nothing opens."""

from __future__ import annotations

import gzip
import io
import os
import threading
import zipfile

import pytest
from infected_mail import EICAR, HEAD, TEXT, b64, multi, part, uu, zipped
from sample_archives import ENCRYPTED_DOCUMENTS, rar4, rar5

from mailgate.archives import contents
from mailgate.archives.unpacker import Unpacker
from mailgate.config import Attachments
from mailgate.content import archive_scan, mime
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy
from mailgate.content.screen import Rules, screen
from mailgate.scan.clamd import CLEAN, Finding, ScanError, Verdict

VIRUS = gzip.compress(EICAR, mtime=0)


DAMAGED = b64(rar4(b"x" * 500, b"a")[:-200])
FOUND = Verdict(Finding.INFECTED, "Eicar")


async def scan(pieces):
    """Scan like clamd: find the virus in a file and in a zip, but not in a RAR."""
    data = b"".join(pieces)
    return FOUND if data.startswith((VIRUS, EICAR)) else CLEAN


def judge(raw: bytes, **words: str):
    return screen(raw, scan, Rules(ContentPolicy(**words), Attachments(), Notice("en", "gw1.univ.example")))


def mail(data: bytes, *, inside: bytes = b"", encoding: bytes = b"base64") -> bytes:
    body = inside or b64(data)
    return HEAD + multi(TEXT, part(body, b"application/x; name=a.bin", encoding), part(b64(b"fine")))


def quoted(data: bytes) -> bytes:
    return b"=\r\n".join(b"".join(b"=%02X" % byte for byte in data[at : at + 25]) for at in range(0, len(data), 25))


def several(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files:
            file.writestr(name, content)
    return out.getvalue()


class TestLargeMail:
    FILE = bytes(2_000_000) + rar5(b"x", b"a")

    async def test_is_searched_beside_the_event_loop(self, monkeypatch):
        search, threads = archive_scan.suspects, []

        def suspects(*given):
            threads.append(threading.current_thread())
            return search(*given)

        monkeypatch.setattr(archive_scan, "suspects", suspects)
        await judge(mail(self.FILE), unchecked="refuse")
        assert threads[0] is not threading.main_thread()
        threads.clear()
        await judge(mail(b"small"))
        assert threads == [threading.main_thread()]

    async def test_archive_far_inside_is_found(self):
        infected = bytes(2_000_000) + rar5(VIRUS, b"a")
        assert (await judge(mail(self.FILE))).action == "deliver"
        decision = await judge(mail(infected), infected="refuse")
        assert (decision.action, decision.found) == ("refuse", FOUND)

    async def test_scan_that_fails_ends_the_search(self):
        async def fails(_pieces):
            raise ScanError("no")

        with pytest.raises(ScanError):
            await screen(
                mail(self.FILE), fails, Rules(ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example"))
            )


class TestRar:
    @pytest.mark.parametrize(
        "raw",
        [
            mail(rar4(VIRUS, b"a.gz")),
            mail(rar5(VIRUS, b"a.gz")),
            mail(rar5(VIRUS, b"a.gz"), inside=b"\r\n" + b64(rar5(VIRUS, b"a.gz"))),
            mail(rar5(VIRUS, b"a.gz"), inside=rar5(VIRUS, b"a.gz"), encoding=b"binary"),
            mail(rar5(VIRUS, b"a.gz"), inside=uu(rar5(VIRUS, b"a.gz")), encoding=b"x-uuencode"),
            mail(b"", inside=quoted(rar5(VIRUS, b"a.gz")), encoding=b"quoted-printable"),
            mail(b"", inside=b"-" * 300 + b"\r\n" + b64(rar5(VIRUS, b"a.gz"))),
            mail(rar5(rar4(VIRUS, b"a.gz"), b"b.rar")),
            mail(several(("letter.txt", b"x" * 999), ("x", rar5(VIRUS, b"a.gz")))),
            mail(zipped(rar5(VIRUS, b"a.gz"), "x", zipfile.ZIP_STORED)),
            mail(zipped(zipped(rar5(VIRUS, b"a.gz")))),
            mail(zipped(rar5(VIRUS, b"a.gz"), "x", zipfile.ZIP_BZIP2)),
            mail(rar5(os.urandom(20_000_000) + VIRUS, b"a.gz")),
        ],
        ids=["rar4", "rar5", "empty line", "binary", "uuencode", "quoted", "junk", "in rar", "zip", "stored",
             "zip in zip",
             "bzip2", "big"],
    )  # fmt: skip
    async def test_a_virus_in_a_rar_is_removed(self, raw):
        if len(raw) > 1_000_000:

            async def anywhere(pieces):
                return FOUND if VIRUS in b"".join(pieces) and len(b"".join(pieces)) < 17_000_000 else CLEAN

            judged = await screen(
                raw, anywhere, Rules(ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example"))
            )
        else:
            judged = await judge(raw)
        assert judged.removed == ("a.bin",)
        assert judged.found == FOUND
        assert b64(b"fine") in judged.content

    async def test_a_virus_in_a_rar_in_an_ambiguous_message_is_rejected(self):
        assert (await judge(mail(rar5(VIRUS, b"a.gz")).replace(b"--b--", b"--c--"))).refusal

    async def test_clean_archives_pass(self):
        for data in (
            rar4(b"fine", b"a.txt"),
            rar5(b"fine", b"a.txt"),
            zipped(rar5(b"fine", b"a.txt")),
            zipped(b"fine"),
        ):
            raw = mail(data)
            judged = await judge(raw)
            assert judged.content is raw
            assert judged.found == CLEAN

    async def test_what_is_encrypted(self):
        raws = [mail(write(b"x", b"a", encrypted=True)) for write in (rar4, rar5)]
        raws += [mail(rar5(b"x", b"a", head_encrypted=True)), *map(mail, ENCRYPTED_DOCUMENTS.values())]
        for raw in raws:
            judged = await judge(raw)
            assert judged.removed == ("a.bin",)
            assert judged.found.finding is Finding.ENCRYPTED and not judged.keep
            assert (await judge(raw, encrypted="deliver")).content is raw
            assert str((await judge(raw, encrypted="refuse")).refusal).startswith(
                "554 5.7.0 Encrypted content not allowed"
            )

    async def test_what_cannot_be_opened_is_kept_and_not_called_encrypted(self):
        nested = rar5(VIRUS, b"a.gz")
        for _ in range(contents.MAX_DEPTH + 2):
            nested = rar5(nested, b"a.rar")
        for raw in (mail(rar4(b"x" * 500, b"a")[:-200]), mail(nested), mail(b"RE~^" + bytes(99))):
            judged = await judge(raw)
            assert judged.removed == ("a.bin",)
            assert judged.found.finding is Finding.UNCHECKED and judged.keep
            assert b64(b"fine") in judged.content
            assert (await judge(raw, unchecked="deliver")).content is raw
            assert not (await judge(raw, unchecked="strip")).keep
            assert str((await judge(raw, unchecked="refuse")).refusal).startswith(
                "554 5.7.0 Content that cannot be checked not allowed"
            )

    async def test_a_virus_beside_what_may_pass_is_found(self):
        """A finding that the policy delivers hides no other."""
        both = HEAD + multi(
            TEXT,
            part(b64(rar4(b"x", b"a", encrypted=True)), b"application/x; name=a.bin"),
            part(b64(rar4(VIRUS, b"a.gz")), b"application/x; name=b.bin"),
        )
        judged = await judge(both, encrypted="deliver")
        assert judged.removed == ("b.bin",)

    async def test_what_was_found_in_a_removed_part_counts_no_more(self):
        """No reader knows the encoding of both parts, so all decodings are searched, before and after the removal."""
        fine = b64(b"fine")
        parts = (
            part(body, b"application/x; name=" + name, b"x-foo")
            for name, body in ((b"a.bin", DAMAGED), (b"b.bin", fine))
        )
        judged = await judge(HEAD + multi(TEXT, *parts))
        assert judged.refusal is None
        assert judged.removed == ("a.bin",)
        assert fine in judged.content

    async def test_an_infected_part_beside_an_unchecked_one_is_kept(self):
        both = HEAD + multi(
            TEXT,
            part(b64(rar4(b"x" * 500, b"a")[:-200]), b"application/x; name=a.bin"),
            part(b64(VIRUS), b"application/x; name=b.bin"),
        )

        async def anywhere(pieces):
            data = b"".join(pieces)
            return FOUND if data.startswith(VIRUS) or b64(VIRUS) in data else CLEAN

        judged = await screen(both, anywhere, Rules(ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example")))
        assert set(judged.removed) == {"a.bin", "b.bin"}
        assert judged.keep

    async def test_each_archive_is_opened_once(self, monkeypatch):
        opened = []
        inside = Unpacker.inside

        def counted(self, content, **words):
            opened.append(content)
            return inside(self, content, **words)

        monkeypatch.setattr(Unpacker, "inside", counted)
        data = rar4(b"x" * 500, b"a")[:-200]
        assert (await judge(mail(data))).removed == ("a.bin",)
        assert opened == [data]

    async def test_an_unpacker_that_fails_gives_no_verdict(self, tmp_path):
        rules = Rules(
            ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example"), unpacker=Unpacker(str(tmp_path / "none"))
        )
        with pytest.raises(ScanError, match="unpacker"):
            await screen(mail(rar4(b"x", b"a")), scan, rules)

    def test_other_mail_is_not_opened(self):
        for data in (os.urandom(3000), b"%PDF-1.7" + bytes(900), b"\xff\xd8\xff" + bytes(900)):
            raw = mail(b"\x01" + data)
            assert archive_scan.suspects(raw, mime.walk(raw)) == []
        raw = mail(b"", inside=b"The letter =\r\n is long, =E3=81=82.\r\n" * 99, encoding=b"quoted-printable")
        assert archive_scan.suspects(raw, mime.walk(raw)) == []

    @pytest.mark.parametrize("front", [0, 1, 2, 76, 500, 100_000])
    @pytest.mark.parametrize("width", [76, 75, 64, 4000])
    async def test_a_rar_behind_something_else(self, front, width):
        data = b"\xff\xd8\xff\xe0" + os.urandom(front) + rar4(VIRUS, b"a.gz")
        judged = await judge(mail(b"", inside=b64(data, width)))
        assert judged.removed == ("a.bin",)
