# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test messages: where each was accepted, whether its final server has delivered it, and what is wrong if not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._verify.questions import Plan, home, reads
from ..translations import N_, Translations
from .fault import Fault

_DELIVERED = N_("{address}: {sender} → {exchange} ({seconds} s) → {server} (delivered after {delay}: {status})")
_ACCEPTED = N_("{address}: {sender} → {exchange} ({seconds} s) → {server} (its log is not read)")


@dataclass(frozen=True)
class Delivery:
    """A test message.

    Attributes:
        address: The mailbox.
        sender: The host that sent it.
        server: The final server of the mailbox in the plan.
        sent: What mail_send returned for it.
        logged: What mail_log returned for it, empty without anything.
        read: Whether the log of the final server was read.
        reason: Why it was not read, if it should have been.
    """

    address: str
    sender: str
    server: str
    sent: Mapping[str, Any]
    logged: Mapping[str, Any]
    read: bool
    reason: str = ""

    def line(self, catalog: Translations) -> str:
        """Return its way as a line; empty if it did not arrive."""
        if not self.sent["accepted"] or (self.read and not self.logged.get("delivered")):
            return ""
        values = {
            "address": self.address,
            "sender": self.sender,
            "exchange": self.sent["exchange"],
            "seconds": self.sent["seconds"],
            "server": self.server,
            "delay": self.logged.get("delay") or "0",
            "status": self.logged.get("status", ""),
        }
        return catalog.gettext(_DELIVERED if self.read else _ACCEPTED).format(**values)


def deliveries(plan: Plan, sent: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[Delivery]:
    """Return all test messages.

    Args:
        plan: The plan.
        sent: The results of mail_verify with mailboxes at the vantage point.
        found: Its results with test messages on the final servers.
    """
    logs = {str(each["host"]): each for each in found}
    result = []
    for place in sent:
        for message in place.get("messages", ()):
            server = home(plan, message["address"])
            log = logs.get(server, {})
            result.append(
                Delivery(
                    message["address"],
                    str(place["host"]),
                    server,
                    message,
                    log.get("found", {}).get(message["id"], {}),
                    reads(plan, server) and not log.get("unreachable_reason"),
                    str(log.get("unreachable_reason", "")),
                )
            )
    return result


def judge(messages: Sequence[Delivery], sent: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield the faults of test messages."""
    for place in sent:
        if place.get("unreachable_reason"):
            yield Fault("vantage", str(place["host"]), {"reason": place["unreachable_reason"]})
    for message in messages:
        if not message.sent["accepted"]:
            tried = [f"{each['exchange']}: {each['code'] or ''} {each['text']}" for each in message.sent["attempts"]]
            text = "; ".join(" ".join(each.split()) for each in tried) or "no mail exchange"
            yield Fault(
                "message_refused", message.server, {"address": message.address, "text": text}, key=message.address
            )
        elif message.read and not message.logged.get("delivered"):
            status = message.logged.get("status") or ("no attempt" if message.logged else "its log does not have it")
            values = {"address": message.address, "exchange": message.sent["exchange"], "text": status}
            yield Fault("message_missing", message.server, values, key=message.address)
        elif message.reason:
            values = {"text": f"test message to {message.address}: {message.reason}"}
            yield Fault("unread", message.server, values, key=message.address)
