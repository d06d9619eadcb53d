# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPF (RFC 7208), evaluated by pyspf with records that have been looked up before."""

from __future__ import annotations

import warnings
from typing import Any

from mailgate.authentication.lookups import FailedError, Found, Lookup, records_of

with warnings.catch_warnings():
    # Python 3.12 and later warn of an escape sequence in a docstring, in each process that imports it from an archive.
    warnings.simplefilter("ignore", SyntaxWarning)
    import spf as pyspf

# Of one client and sender. RFC 7208 section 4.6.4 permits ten terms that look up, with ten servers each for `mx`.
MAX_LOOKUPS = 60
# Of one record. Its parser takes time that is quadratic in this.
MAX_RECORD_BYTES = 4096
RESULTS = ("pass", "fail", "softfail", "neutral", "none", "permerror", "temperror")


def evaluate(client: str, helo: str, sender: str, found: Found) -> str:
    """Return the result for an envelope sender, or for the HELO name if the sender is empty.

    Args:
        client: IP address of the client.
        helo: HELO name.
        sender: Address of the sender, its domain as A-labels; empty for the null sender.
        found: Records of DNS.

    Raises:
        NeededError: Records that are not in `found` are needed.
    """
    if not sender and (helo.startswith("[") or "." not in helo):
        # Not a name that can have a record (section 2.3).
        return "none"
    local, _at, domain = sender.rpartition("@")
    if domain.startswith("["):
        return "none"
    if "@" in local:
        # The library takes the first one for the separator.
        sender = f"{local.replace('@', '.')}@{domain}"
    query = _Query(client, sender, helo, found)
    try:
        return str(query.check()[0])
    except (AssertionError, UnicodeError, ValueError):
        # The library raises these for records and names that are not valid.
        return "permerror"


class _Query(pyspf.query):  # type: ignore[misc] # pyspf has no types
    """A query of pyspf that looks nothing up itself."""

    def __init__(self, client: str, sender: str, helo: str, found: Found) -> None:
        super().__init__(i=client, s=sender, h=helo)
        self._found = found

    def dns(self, name: Any, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[Any]:
        """Return the records of a name; count those that do not exist (section 4.6.4)."""
        name = str(name).removesuffix(".").lower()
        if any(not 0 < len(label) < 64 for label in name.split(".")):
            return []
        try:
            records = records_of(self._found, Lookup(qtype, name))
        except FailedError as error:
            raise pyspf.TempError(f"DNS failed: {error}") from error
        if not records and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > pyspf.MAX_VOID_LOOKUPS:
                raise pyspf.PermError(f"Void lookup limit of {pyspf.MAX_VOID_LOOKUPS} exceeded")
        if qtype == "TXT":
            return [(text,) for text in records if len(text) <= MAX_RECORD_BYTES]
        texts = [record.decode("ascii", "replace") for record in records]
        if qtype == "MX":
            return [(int(number), host) for number, _space, host in (text.partition(" ") for text in texts)]
        return texts

    def get_explanation(self, spec: str) -> None:
        """Return no explanation: it is text of the domain's owner that the reply does not quote."""
