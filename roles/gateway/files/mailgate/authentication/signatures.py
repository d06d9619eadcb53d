# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKIM signatures and ARC chains (RFC 6376, RFC 8617), evaluated by dkimpy with keys that have been looked up before.

The message is a stranger's, and so are the keys: what would take a lot of time is bounded before the library has it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from mailgate.authentication.body import Body
from mailgate.authentication.header import domain_name
from mailgate.authentication.lookups import FailedError, Found, Lookup, NeededError, records_of

MAX_SIGNATURES = 5
MAX_ARC_SETS = 20
MAX_HEADER_BYTES = 262_144
MAX_FIELDS = 1000
MAX_SIGNATURE_BYTES = 8192
MAX_SIGNED_FIELDS = 200
MIN_KEY_BITS, MAX_KEY_BITS, MAX_EXPONENT_BITS = 1024, 4096, 32
MAX_LOOKUPS = MAX_SIGNATURES + 2 * MAX_ARC_SETS
_FIELD = re.compile(rb"^[^ \t\r\n]", re.MULTILINE)
_ARC = re.compile(
    rb"^arc-(?:seal|message-signature)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_DKIM = re.compile(rb"^dkim-signature[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)
# The library's search for `b=` takes time that is quadratic in these.
_LONG_BLANKS = re.compile(rb"\s{100}")
MAX_COMMENT_DEPTH = 5
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_COMMENT = re.compile(rb"\([^()]*\)")
_DMARC_PASSED = re.compile(rb";\s*dmarc\s*=\s*pass(?![\w-])", re.IGNORECASE)
_SILENT = logging.Logger("dkim")
_SILENT.disabled = True


class Signature(NamedTuple):
    """A DKIM signature: its result by RFC 8601 section 2.7.1, domain and selector, and what is wrong with it."""

    result: str
    domain: str = ""
    selector: str = ""
    reason: str = ""


class Chain(NamedTuple):
    """An ARC chain: `none`, `pass`, `fail` or `temperror`, the domains of its seals, and what the first set reports.

    Attributes:
        result: The result.
        sealers: Domains of the seals.
        dmarc_passed: Whether DMARC passed when the first seal was set.
    """

    result: str
    sealers: tuple[str, ...] = ()
    dmarc_passed: bool = False


class _RefusedError(dkim.DKIMException):  # type: ignore[misc] # dkimpy has no types
    """A signature has another result than pass or fail."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result


class SignedMessage:
    """The signatures of a message.

    Args:
        content: The message as received; its line ends are CRLF.
    """

    def __init__(self, content: bytes) -> None:
        end = 0 if content.startswith(b"\r\n") else content.find(b"\r\n\r\n") + 2
        self._header = content[:end] if end != 1 else content
        self._body = Body(content, len(content) if end == 1 else end + 2)
        self._signed = _DKIM.findall(self._header)
        self._arc = _ARC.findall(self._header)
        self._too_large = len(self._header) > MAX_HEADER_BYTES or len(_FIELD.findall(self._header)) > MAX_FIELDS

    def signatures(self, found: Found) -> list[Signature]:
        """Return the topmost signatures; raise NeededError if keys are not in `found`."""
        if self._signed and self._too_large:
            return [Signature("neutral", reason="header section too large")]
        values = self._signed[:MAX_SIGNATURES]
        # All keys first, so that no signature is verified twice.
        _have_keys(values, found)
        return [self._signature(index, value, found) for index, value in enumerate(values)]

    def _signature(self, index: int, value: bytes, found: Found) -> Signature:
        domain = selector = ""
        try:
            _check_size(value)
            verifier = _Verifier(self._header, self._body, found)
            tags, signed, fields = verifier.verify_headerprep(index)
            domain, selector = domain_name(_text(tags[b"d"])), _text(tags[b"s"])
            if b"from" not in signed:
                raise _RefusedError("permerror", "From is not signed")
            if tags[b"a"] == b"rsa-sha1":
                raise _RefusedError("permerror", "rsa-sha1 is not valid")
            valid = verifier.verify_sig(tags, signed, fields[index], None)
            return Signature("pass" if valid else "fail", domain, selector, "" if valid else "signature did not verify")
        except NeededError:
            raise
        except FailedError:
            return Signature("temperror", domain, selector, "key not available")
        except _RefusedError as error:
            return Signature(error.result, domain, selector, str(error))
        except (dkim.NaClNotFoundError, dkim.UnknownKeyTypeError):
            return Signature("neutral", domain, selector, "key type not supported")
        except Exception as error:
            # The library raises many kinds of exceptions for a signature or key that it cannot read.
            expired = str(error).startswith("x= value is past")
            return Signature("fail" if expired else "permerror", domain, selector, _reason(error))

    def chain(self, found: Found) -> Chain:
        """Return the ARC chain; raise NeededError if keys are not in `found`."""
        if not self._arc:
            return Chain("none")
        if self._too_large or len(self._arc) > 2 * MAX_ARC_SETS:
            return Chain("fail")
        try:
            for value in self._arc:
                _check_size(value)
            _have_keys(self._arc, found)
            state, sets, _reason_text = _ChainVerifier(self._header, self._body, found).verify()
        except NeededError:
            raise
        except FailedError:
            return Chain("temperror")
        except Exception:
            # As for signatures.
            return Chain("fail")
        if state != dkim.CV_Pass:
            return Chain("fail")
        first = min(sets, key=lambda each: each["instance"])["aar-value"]
        sealers = tuple(domain_name(_text(each["as-domain"])) for each in sets)
        return Chain("pass", sealers, _reports_dmarc(first))


def overall(signatures: Sequence[Signature]) -> str:
    """Return one result for all signatures of a message."""
    results = [each.result for each in signatures]
    for result in ("pass", "policy", "temperror"):
        if result in results:
            return result
    return results[0] if results else "none"


class _Checks:
    """What replaces parts of dkimpy's verification: keys come from `found`, and bodies are hashed in blocks."""

    _body: Body
    _found: Found

    def verify_sig(self, tags: Mapping[bytes, bytes], signed: list[bytes], field: Any, _dnsfunc: object) -> bool:
        """Return whether a signature is valid; raise DKIMException if it or its key is malformed."""
        if len(signed) > MAX_SIGNED_FIELDS:
            raise _RefusedError("permerror", "too many signed fields")
        key, bits, kind, for_reports = dkim.evaluate_pk(b"", _key_record(tags, self._found))
        if kind == b"rsa" and (bits > MAX_KEY_BITS or key["publicExponent"].bit_length() > MAX_EXPONENT_BITS):
            raise _RefusedError("permerror", "key too large")
        self.pk, self.keysize, self.ktag, self.seqtlsrpt = key, bits, kind, for_reports
        self.minkey = MIN_KEY_BITS
        part = b"bh" in tags and self._is_part(tags)
        others = {name: value for name, value in tags.items() if name != b"bh"}
        valid = bool(self.verify_sig_process(others, signed, field, None))  # type: ignore[attr-defined]
        if valid and part:
            raise _RefusedError("policy", "a part of the body is signed only")
        return valid

    def _is_part(self, tags: Mapping[bytes, bytes]) -> bool:
        """Check the hash of the body; return whether it is that of a part."""
        relaxed = tags.get(b"c", b"simple/simple").partition(b"/")[2] == b"relaxed"
        length = int(tags[b"l"]) if b"l" in tags else None
        digest, total = self._body.hash(_text(tags[b"a"]).partition("-")[2], relaxed=relaxed, length=length)
        if digest != dkim.base64.b64decode(re.sub(rb"\s+", b"", tags[b"bh"])):
            raise _RefusedError("fail", "body hash did not verify")
        if length is not None and length > total:
            raise _RefusedError("permerror", "l= exceeds the body")
        return length is not None and length < total


class _Verifier(_Checks, dkim.DKIM):  # type: ignore[misc]
    def __init__(self, header: bytes, body: Body, found: Found) -> None:
        super().__init__(header, logger=_SILENT)
        self._body, self._found = body, found


class _ChainVerifier(_Checks, dkim.ARC):  # type: ignore[misc]
    def __init__(self, header: bytes, body: Body, found: Found) -> None:
        super().__init__(header, logger=_SILENT)
        self._body, self._found = body, found


def _reports_dmarc(value: bytes) -> bool:
    """Return whether ARC-Authentication-Results reports that DMARC passed, outside of quoted strings and comments."""
    text = _QUOTED.sub(b"", value)
    for _level in range(MAX_COMMENT_DEPTH):
        text = _COMMENT.sub(b"", text)
    return not set(b'()"') & set(text) and _DMARC_PASSED.search(text) is not None


def _check_size(value: bytes) -> None:
    if len(value) > MAX_SIGNATURE_BYTES or _LONG_BLANKS.search(value):
        raise _RefusedError("permerror", "signature too large")


def _have_keys(values: Sequence[bytes], found: Found) -> None:
    """Raise NeededError if the key of a signature is not in `found`."""
    for value in values:
        try:
            records_of(found, _key_name(parse_tag_value(value)))
        except (InvalidTagValueList, KeyError, FailedError):
            continue


def _key_name(tags: Mapping[bytes, bytes]) -> Lookup:
    return Lookup("TXT", f"{_text(tags[b's'])}._domainkey.{_text(tags[b'd'])}".lower().removesuffix("."))


def _key_record(tags: Mapping[bytes, bytes], found: Found) -> bytes:
    """Return the key record of a signature (section 3.6.2.2), empty if there is none."""
    records = records_of(found, _key_name(tags))
    return next((record for record in records if b"p=" in record), b"")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _reason(error: Exception) -> str:
    return re.sub(r"[^ -~]", "?", str(error) or type(error).__name__)[:100]
