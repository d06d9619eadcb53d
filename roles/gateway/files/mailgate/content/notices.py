# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices to recipients and the postmaster, in each language; the sender gets none, as the address may be forged."""

from __future__ import annotations

import base64
import string
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from mailgate.config import LANGUAGES
from mailgate.content.attachments import readable
from mailgate.translation import N_, SOURCE_LANGUAGE, translator

FIELDS = ("file", "reason", "host", "id")

_REASONS = {
    # Translators: the {reason} of "The attachment {file} {reason}"; {name} is what was found.
    "infected": N_("was infected ({name})"),
    # Translators: as in "was infected".
    "encrypted": N_("is encrypted and could not be checked for viruses ({name})"),
    # Translators: as in "was infected".
    "unchecked": N_("could not be opened and checked for viruses ({name})"),
    # Translators: as in "was infected".
    "attachment": N_("is of a kind that is not accepted here ({name})"),
}
_REMOVED = N_(
    "The attachment {file} {reason}. The mail gateway {host} has removed it."
    " The rest of this message is as it was sent."
)
_KEPT = N_("Your postmaster can release the whole message, by its number {id}.")
_NO_NAME = N_("(without a name)")

_NOT_DELIVERED = {
    "infected": N_("The mail gateway {host} did not deliver a message to you, because it was infected ({name})."),
    "encrypted": N_(
        "The mail gateway {host} did not deliver a message to you,"
        " because it is encrypted and could not be checked for viruses ({name})."
    ),
    "unchecked": N_(
        "The mail gateway {host} did not deliver a message to you,"
        " because it could not be opened and checked for viruses ({name})."
    ),
    "attachment": N_(
        "The mail gateway {host} did not deliver a message to you,"
        " because it has an attachment of a kind that is not accepted here ({name})."
    ),
}
_DETAILS = N_("From: {sender}\nSubject: {subject}\nNumber: {id}")
_SUBJECT = N_("Message not delivered")


@dataclass(frozen=True)
class Removal:
    """Why a part was removed: `kind` is infected, encrypted, unchecked or attachment, `name` what was found."""

    kind: str
    name: str


class Notice:
    """Notices in `language` first; `template` is the site's own text, with the fields of FIELDS."""

    def __init__(self, language: str, hostname: str, template: str = "") -> None:
        codes = sorted(LANGUAGES, key=lambda code: code != language)
        self._translators = {code: translator(code) for code in codes}
        self._subject = " / ".join(translator(code)(_SUBJECT) for code in LANGUAGES)
        self._hostname = hostname
        self._template = template

    def text(self, removal: Removal, filename: str, kept_as: str = "", *, ascii_only: bool = False) -> str:
        """Return the text that replaces a removed part, with LF line ends.

        Args:
            removal: Why the part was removed.
            filename: Its file name, which may be empty.
            kept_as: Its number in the quarantine, if it is kept.
            ascii_only: Whether to leave out all languages but English.
        """
        paragraphs = []
        for code, translate in self._translators.items():
            if ascii_only and code != SOURCE_LANGUAGE:
                continue
            fields = {
                "file": plain(readable(filename)) or translate(_NO_NAME),
                "reason": translate(_REASONS[removal.kind]).format(name=plain(removal.name)),
                "host": self._hostname,
                "id": kept_as,
            }
            if self._template:
                return self._template.format(**fields)
            kept = f"\n{translate(_KEPT).format(**fields)}" if kept_as else ""
            paragraphs.append(translate(_REMOVED).format(**fields) + kept)
        return "\n\n".join(paragraphs) + "\n"

    def part(self, removal: Removal, filename: str, kept_as: str = "") -> bytes:
        """Return the same text as a MIME part, header and body."""
        text = self.text(removal, filename, kept_as).replace("\n", "\r\n")
        body = base64.encodebytes(text.encode("utf-8")).replace(b"\n", b"\r\n")
        return (
            b"Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: inline\r\n\r\n" + body.removesuffix(b"\r\n")
        )

    def block(self, removal: Removal, filename: str, charset: str, kept_as: str = "") -> bytes:
        """Return the same text as lines within a text of `charset`, in English only if it has no Japanese."""
        for ascii_only in (False, True):
            text = self.text(removal, filename, kept_as, ascii_only=ascii_only).rstrip("\n")
            lines = "\r\n".join(
                f"[ {line} ]" for paragraph in text.split("\n") for line in textwrap.wrap(paragraph, 70)
            )
            try:
                content = lines.encode(charset)
            except (LookupError, UnicodeError):
                continue
            # Escape sequences and wide characters would break the lines of the text around them.
            if lines.isascii() or charset == "utf-8":
                return content
        return lines.encode("ascii", "replace")

    def mail(self, removal: Removal, to: str, kept_as: str, about: Mapping[str, str]) -> bytes:
        """Return a message to `to` about one that was not delivered; `about` has its sender and subject."""
        fields = {
            "name": plain(removal.name),
            "host": self._hostname,
            "id": kept_as,
            "sender": plain(about["sender"]) or "<>",
            "subject": plain(readable(about["subject"])),
        }
        paragraphs = [
            translate(text).format(**fields)
            for translate in self._translators.values()
            for text in (_NOT_DELIVERED[removal.kind], _DETAILS)
        ]
        mail = EmailMessage(policy=SMTP)
        mail["From"] = f"Mail gateway <postmaster@{self._hostname}>"
        mail["To"] = to
        mail["Subject"] = self._subject
        mail["Date"] = formatdate(localtime=True)
        mail["Message-ID"] = f"<{kept_as}.notice@{self._hostname}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n\n".join(paragraphs) + "\n", cte="base64")
        return mail.as_bytes()


def check_template(text: str) -> str:
    """Return a site's own notice; raise ValueError if it has an unknown field."""
    for _literal, field, form, _conversion in string.Formatter().parse(text):
        if field is not None and (field not in FIELDS or form):
            raise ValueError(f"{{{field}}} is not one of {', '.join(f'{{{name}}}' for name in FIELDS)}")
    return text


def plain(text: str) -> str:
    """Return a name from a message in a form that fits one line of text."""
    return "".join(character if character.isprintable() else "?" for character in text)[:100]
