# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What recipients and the postmaster are told, in two languages; a sender, who may be forged, is told nothing."""

from __future__ import annotations

import base64
import string
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from mailgate.content.attachments import readable

FIELDS = ("file", "reason", "host", "id")

_REASONS = {
    "en": {
        "infected": "was infected ({name})",
        "encrypted": "is encrypted and could not be checked for viruses ({name})",
        "attachment": "is of a kind that is not accepted here ({name})",
    },
    "ja": {
        "infected": "ウイルスに感染していたため ({name})",
        "encrypted": "暗号化されていてウイルス検査ができないため ({name})",
        "attachment": "受け入れられない種類のファイルであるため ({name})",
    },
}
_REMOVED = {
    "en": "The attachment {file} {reason}. The mail gateway {host} has removed it."
    " The rest of this message is as it was sent.",
    "ja": "添付ファイル {file} は{reason}、メールゲートウェイ {host}"
    " が取り除きました。このメールの他の部分は送信されたままです。",
}
_KEPT = {
    "en": "Your postmaster can release the whole message, by its number {id}.",
    "ja": "メール全体が必要な場合は、番号 {id} を postmaster に知らせてください。",
}
_STOPPED = {
    "en": "The mail gateway {host} did not deliver a message to you, because it {reason}.\n\nFrom: {sender}\n"
    "Subject: {subject}\nNumber: {id}",
    "ja": "メールゲートウェイ {host} は、次のメールを配信しませんでした。{reason}です。\n\n差出人: {sender}\n"
    "件名: {subject}\n番号: {id}",
}
_NO_NAME = {"en": "(without a name)", "ja": "(名前なし)"}


@dataclass(frozen=True)
class Removal:
    """Why a part was removed: `kind` is infected, encrypted or attachment, `name` what was found."""

    kind: str
    name: str


class Notice:
    """Texts by the settings: `language` first; `template` is a text of the site's own with the fields of FIELDS."""

    def __init__(self, language: str, hostname: str, template: str = "") -> None:
        self._languages = sorted(_REMOVED, key=lambda code: code != language)
        self._hostname = hostname
        self._template = template

    def text(self, removal: Removal, filename: str, kept_as: str = "", *, ascii_only: bool = False) -> str:
        """What stands in the place of a removed part, with LF line ends; `kept_as` is its number in the quarantine."""
        paragraphs = []
        for code in self._languages:
            if ascii_only and code != "en":
                continue
            words = {
                "file": plain(readable(filename)) or _NO_NAME[code],
                "reason": _REASONS[code][removal.kind].format(name=plain(removal.name)),
                "host": self._hostname,
                "id": kept_as,
            }
            if self._template:
                return self._template.format(**words)
            paragraphs.append(_REMOVED[code].format(**words) + (f"\n{_KEPT[code].format(**words)}" if kept_as else ""))
        return "\n\n".join(paragraphs) + "\n"

    def part(self, removal: Removal, filename: str, kept_as: str = "") -> bytes:
        """The same as a MIME part, header and body."""
        text = self.text(removal, filename, kept_as).replace("\n", "\r\n")
        body = base64.encodebytes(text.encode("utf-8")).replace(b"\n", b"\r\n")
        return (
            b"Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: inline\r\n\r\n" + body.removesuffix(b"\r\n")
        )

    def block(self, removal: Removal, filename: str, charset: str, kept_as: str = "") -> bytes:
        """The same as lines within a text of that charset, in English alone where it has no Japanese."""
        for ascii_only in (False, True):
            text = self.text(removal, filename, kept_as, ascii_only=ascii_only).rstrip("\n")
            lines = "\r\n".join(
                f"[ {line} ]" for paragraph in text.split("\n") for line in textwrap.wrap(paragraph, 70)
            )
            try:
                octets = lines.encode(charset)
            except (LookupError, UnicodeError):
                continue
            # Escape sequences and wide characters would not stand well between lines that others have written.
            if lines.isascii() or charset == "utf-8":
                return octets
        return lines.encode("ascii", "replace")

    def mail(self, removal: Removal, to: str, kept_as: str, about: Mapping[str, str]) -> bytes:
        """A message to `to` about one that was not delivered; `about` has its sender and subject."""
        paragraphs = [
            _STOPPED[code].format(
                reason=_REASONS[code][removal.kind].format(name=plain(removal.name)).removesuffix("ため"),
                host=self._hostname,
                id=kept_as,
                sender=plain(about["sender"]) or "<>",
                subject=plain(readable(about["subject"])),
            )
            for code in self._languages
        ]
        mail = EmailMessage(policy=SMTP)
        mail["From"] = f"Mail gateway <postmaster@{self._hostname}>"
        mail["To"] = to
        mail["Subject"] = "Message not delivered / メールを配信しませんでした"
        mail["Date"] = formatdate(localtime=True)
        mail["Message-ID"] = f"<{kept_as}.notice@{self._hostname}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n\n".join(paragraphs) + "\n", cte="base64")
        return mail.as_bytes()


def check_template(text: str) -> str:
    """A site's own notice; raises ValueError if it names an unknown field."""
    for _literal, field, form, _conversion in string.Formatter().parse(text):
        if field is not None and (field not in FIELDS or form):
            raise ValueError(f"{{{field}}} is not one of {', '.join(f'{{{name}}}' for name in FIELDS)}")
    return text


def plain(text: str) -> str:
    """A name out of a message, fit for one line of text."""
    return "".join(character if character.isprintable() else "?" for character in text)[:100]
