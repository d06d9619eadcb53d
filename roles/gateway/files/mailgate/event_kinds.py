# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schema of events: every kind, its fields, and what they mean, declared once.

`tests/sanity/events` generates the page of the documentation from it. A field that an event does not need is absent,
never null. A program that reads events must ignore fields and kinds that it does not know: new ones do not change the
version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Changes when a field or kind is removed or gets another meaning.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class EventField:
    """A field: type of its value in Python after parsing the JSON, and its meaning.

    Attributes:
        type: Type of the value.
        help: Meaning, with the unit.
        address: It is an address of a person, or a list of them, which can be hashed.
        quotes: It quotes a text of another host, which may contain addresses.
    """

    type: type
    help: str
    address: bool = False
    quotes: bool = False


FIELDS: Mapping[str, EventField] = {
    "action": EventField(str, "what was done, or what a rule would have done"),
    "arc": EventField(str, "result of ARC, if the message has a chain"),
    "ask": EventField(list, "verification servers"),
    "client": EventField(str, "IP address of the client"),
    "command": EventField(str, "SMTP command"),
    "delivered": EventField(int, "recipients that have the message, or whose mail is in the queue"),
    "dkim": EventField(str, "result of DKIM, the best of all signatures"),
    "dmarc": EventField(str, "result of DMARC"),
    "domain": EventField(str, "mail domain"),
    "domains": EventField(list, "mail domains"),
    "doubtful": EventField(bool, "whether the server may have accepted the message although its reply is missing"),
    "entries": EventField(int, "entries of the list"),
    "errors": EventField(int, "commands that were refused"),
    "event_loop": EventField(str, "event loop of the workers"),
    "failed": EventField(list, "recipients that do not have the message", address=True),
    "finding": EventField(str, "`infected`, `encrypted`, `over_limits`, `unchecked` or `attachment`"),
    "given_up": EventField(int, "messages whose processing was cancelled"),
    "helo": EventField(str, "HELO or EHLO name of the client"),
    "id": EventField(str, "transaction, from MAIL to the reply to the message; before MAIL, connection"),
    "limit": EventField(int, "recipients in `minutes` above which further ones are deferred"),
    "list": EventField(str, "name of a list of rules"),
    "listen": EventField(list, "addresses and ports"),
    "lost": EventField(int, "events that are not in the files"),
    "message_id": EventField(str, "header field Message-ID"),
    "messages": EventField(int, "messages that were accepted"),
    "minutes": EventField(int, "duration in minutes"),
    "name": EventField(str, "virus, or violation of the policy"),
    "network": EventField(str, "network of the client, in CIDR notation"),
    "next_hop": EventField(str, "address and port of the server"),
    "next_hops": EventField(list, "servers of the domain in order of preference"),
    "number": EventField(int, "how many"),
    "of": EventField(str, "DNS zone or server"),
    "problems": EventField(list, "problems, a text for each"),
    "queue_id": EventField(str, "number under which the server or queue has the message, if its reply has one"),
    "queued": EventField(int, "recipients that the queue has"),
    "reason": EventField(str, "cause", quotes=True),
    "recipient": EventField(str, "recipient", address=True),
    "recipients": EventField(list, "recipients", address=True),
    "refused": EventField(int, "recipients that were refused"),
    "removed": EventField(list, "attachments that were removed"),
    "reply": EventField(str, "SMTP reply; lines are separated by ` / `", quotes=True),
    "routes": EventField(int, "routes"),
    "rule": EventField(str, "first rule that applies"),
    "rules": EventField(list, "rules"),
    "scanner": EventField(str, "socket of clamd"),
    "score": EventField(int, "sum of the scores"),
    "seconds": EventField(float, "duration in seconds"),
    "selector": EventField(str, "selector of the gateway's DKIM key"),
    "sender": EventField(str, "envelope sender; empty for the null sender", address=True),
    "session": EventField(str, "connection of a transaction"),
    "sessions": EventField(int, "connections that were cut"),
    "signed": EventField(str, "domain of the DKIM signature that the gateway has added"),
    "size": EventField(int, "size of the message in bytes"),
    "spam": EventField(
        str, "what the spam scan does: `pass`, `tag`, `refuse`, `defer`, `greylist`; not scanned: `failed`, `too_large`"
    ),
    "spam_score": EventField(float, "score of rspamd"),
    "spam_symbols": EventField(list, "symbols of rspamd, those with the largest scores first"),
    "spf": EventField(str, "result of SPF"),
    "status": EventField(int, "exit status; negative: signal"),
    "subject": EventField(str, "header field Subject, if `events.subject` is set"),
    "threshold": EventField(int, "recipients in `minutes` above which an alarm is given"),
    "tls": EventField(bool, "whether TLS was active"),
    "verified": EventField(str, "what verified the recipient: `server`, `cache`, or `queue` (not verified)"),
    "version": EventField(str, "version of clamd and its signatures"),
    "worker": EventField(int, "process ID"),
    "workers": EventField(int, "worker processes"),
}


@dataclass(frozen=True, slots=True)
class EventKind:
    """A kind of event.

    Attributes:
        help: When it is written.
        fields: Fields that every event of the kind has.
        optional: Fields that some have.
        journal: Whether it is in the journal, too.
    """

    help: str
    fields: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    journal: bool = True


_WHO = ("client", "helo", "sender")

KINDS: Mapping[str, EventKind] = {
    # A message, in the order of its way
    "connection_refused": EventKind(
        "a client above a limit, or a banned one, refused at once", ("client", "reply"), ("id",)
    ),
    "connection_closed": EventKind(
        "the gateway closed a connection: the client was slow or made too many errors, or it stops",
        ("client", "reply"),
        ("id",),
    ),
    "early_talker": EventKind("a client spoke before the greeting", ("client",), ("id",)),
    "pipelining": EventKind("a client did not wait for a reply that it must wait for", ("client",), ("id",)),
    "no_encryption": EventKind("STARTTLS of a client failed", ("client", "reason"), ("id",)),
    "command_refused": EventKind(
        "a command other than RCPT was refused", ("id", "client", "command", "reply"), ("helo", "session", "sender")
    ),
    "relay_refused": EventKind(
        "a recipient was refused because the client may not relay",
        (*_WHO, "recipient", "reply"),
        ("id", "session"),
    ),
    "recipient_refused": EventKind(
        "a recipient was refused or deferred, also by a rate or the greylist; by a rule, with its name and the score",
        (*_WHO, "recipient", "reply"),
        ("id", "session", "rule", "score"),
    ),
    "rule_log_only": EventKind(
        "rules apply to a recipient without effect", (*_WHO, "recipient", "rules", "action", "score"), ("id",)
    ),
    "recipient": EventKind(
        "a recipient was accepted at RCPT", ("id", "recipient", "verified"), ("next_hops",), journal=False
    ),
    "abandoned": EventKind(
        "a transaction with recipients ended without a message",
        ("id", "session", *_WHO, "recipients", "reason"),
        journal=False,
    ),
    "resent": EventKind(
        "the client sent a message again; it is not delivered twice", ("id", "sender", "recipients")
    ),
    "finding": EventKind(
        "what was found in a message, and the action taken",
        ("id", "client", "sender", "finding", "name", "action", "recipients"),
        ("removed", "reason"),
    ),
    "not_scanned": EventKind("a message was deferred without a verdict", ("id", "reason")),
    "not_kept": EventKind("the quarantine cannot store or remove a message", ("reason",), ("id",)),
    "next_hop_down": EventKind(
        "a server did not answer at RCPT", ("next_hops", "recipient", "reason"), ("id",)
    ),
    "next_hop_lost": EventKind(
        "a server did not answer to the message", ("next_hops", "reason"), ("id", "doubtful")
    ),
    "conversion_needed": EventKind(
        "8-bit, and the server does not offer 8BITMIME: the queue converts it",
        ("next_hops", "recipients"),
        ("id",),
    ),
    "delivered": EventKind(
        "a server accepted the message for recipients",
        ("id", "next_hop", "recipients", "reply", "seconds"),
        ("queue_id",),
        journal=False,
    ),
    "hop_refused": EventKind(
        "a server refused the message after it had accepted recipients",
        ("id", "next_hop", "recipients", "reply", "seconds"),
        journal=False,
    ),
    "queued": EventKind("the queue took recipients", ("sender", "recipients"), ("id", "reply", "queue_id", "seconds")),
    "queue_refused": EventKind("the queue refused a message", ("recipients", "reply"), ("id",)),
    "queue_down": EventKind("the queue does not answer", ("reason",), ("id",)),
    "delivered_in_part": EventKind(
        "some recipients have the message, and the queue failed for others; the client retries",
        ("failed", "reason"),
        ("id",),
    ),
    "message": EventKind(
        "the end of a message; written before the reply is sent",
        ("id", *_WHO, "recipients", "reply", "seconds"),
        ("session", "size", "queued", "delivered", "message_id", "subject", "rule", "score",
         "spf", "dkim", "dmarc", "arc", "spam", "spam_score", "spam_symbols", "signed", "selector"),
    ),
    "notice_not_sent": EventKind("a notice failed", ("recipient", "reason")),
    "connection": EventKind(
        "the end of a connection",
        ("id", "client", "messages", "refused", "errors", "seconds"),
        ("helo", "tls", "reply"),
        journal=False,
    ),
    # Recipients and servers
    "unknown_recipients": EventKind(
        "refusals of a guessing `client`, or for a guessed `domain`, not logged one by one in the last minute",
        ("refused",),
        ("client", "domain"),
    ),
    "verification_server_down": EventKind(
        "in tiered delivery: the verification server did not answer", ("ask", "recipient", "reason"), ("id",)
    ),
    "verification_server_refused": EventKind(
        "it refused to talk to the gateway", ("ask", "recipient", "reply"), ("id",)
    ),
    "catch_all": EventKind("a server accepts any recipient", ("domain", "next_hops")),
    "queue_woken": EventKind("the queue was flushed for a server that answers again", ("domain", "reply")),
    # Clients
    "banned": EventKind("a client is banned for guessing addresses", ("client", "network", "minutes", "reason")),
    "relay_alarm": EventKind(
        "a host that may relay sends to more recipients than usual", ("client", "minutes"), ("threshold", "limit")
    ),
    "unsent_bounce": EventKind(
        "a message with the null sender is for recipients who have sent nothing; `action` is `refuse` or `deliver`",
        ("id", "client", "recipients", "action"),
    ),
    "not_signed": EventKind(
        "outgoing mail of a domain was delivered without a DKIM signature", ("domain", "reason", "number")
    ),
    "signing_begins": EventKind(
        "the record of a DKIM key is in DNS: outgoing mail of the domain is signed", ("domain", "selector")
    ),
    "limits_store_failed": EventKind(
        "bans or the greylist cannot be stored; workers use their memory", ("reason", "number")
    ),
    "shared_state_failed": EventKind(
        "the shared store fails or is too slow; the gateway uses its own memory", ("reason", "number")
    ),
    # Rules
    "list_loaded": EventKind("a list of rules was loaded", ("list", "entries")),
    "list_refused": EventKind("a list is invalid or gone", ("list", "problems", "number")),
    "dns_failed": EventKind("look-ups for rules or mail authentication failed", ("of", "reason", "number")),
    # The service
    "scanner_failed": EventKind("one of several clamds gave no verdict", ("scanner", "reason")),
    "rspamd_failed": EventKind("rspamd gave no score; once a minute", ("reason", "number")),
    "signatures_old": EventKind(
        "signatures are older than `scan.max_signature_days`", ("scanner", "version", "reason")
    ),
    "started": EventKind("the service started", ("routes", "workers", "listen"), ("event_loop",)),
    "reloaded": EventKind("new settings are in use", ("routes",)),
    "reload_refused": EventKind("new settings have errors; the previous ones stay in use", ("problems",)),
    "restart_needed": EventKind("a changed setting needs a restart", ("reason",)),
    "routes_removed": EventKind("domains left the delivery table: their mail is deferred", ("number", "domains")),
    "worker_ended": EventKind("a worker process exited and was replaced", ("worker", "status")),
    "worker_hangs": EventKind("a worker process hung and was killed", ("worker",)),
    "worker_stopped": EventKind("a worker process was stopped", ("worker", "sessions", "given_up")),
    "stopped": EventKind("the service stopped"),
    "state_failed": EventKind("a file of the state directory cannot be written; mail continues", ("name", "reason")),
    "state_restored": EventKind("it can be written again", ("name",), ("lost",)),
}  # fmt: skip


def problems_of(event: Mapping[str, object]) -> list[str]:
    """Return what is wrong with a parsed event by the schema; a line of suppressed events has only their number."""
    name = event.get("event")
    kind = KINDS.get(str(name))
    if kind is None:
        return [f"unknown event {name!r}"]
    if "suppressed" in event:
        return []
    found = [f"{name}: {field} is missing" for field in kind.fields if field not in event]
    for field, value in event.items():
        if field in ("event", "time", "v"):
            continue
        if field not in kind.fields and field not in kind.optional:
            found.append(f"{name}: {field} is not declared")
        elif not _is(value, FIELDS[field].type):
            found.append(f"{name}: {field} is {value!r}")
    return found


def _is(value: object, expected: type) -> bool:
    if isinstance(value, bool) and expected is not bool:
        return False
    return isinstance(value, int | float) if expected is float else isinstance(value, expected)
