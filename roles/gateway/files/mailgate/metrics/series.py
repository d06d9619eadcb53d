# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All metrics, each declared once: name, type, labels and meaning.

`tests/sanity/metrics` generates the table of the documentation from it. Names follow the conventions of Prometheus:
base units, `_total` for counters. Values of labels are known here, apart from names of rules in the settings: nothing
that a client or a message can choose becomes a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from mailgate.event_kinds import KINDS

PREFIX = "mailgate_"
# Upper bounds in seconds: a recipient in the cache takes less than 1 ms, and a client waits at most 240 s for a reply.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 240.0)
# Upper bounds in bytes: 1 KiB to 64 MiB.
BYTES = tuple(float(1 << power) for power in range(10, 27, 2))


class Type(Enum):
    """Type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Series:
    """A metric.

    Attributes:
        type: Its type.
        help: Meaning.
        labels: Values by name of the label; no values if they are known at run time only.
        bounds: Upper bounds of the buckets of a histogram.
    """

    type: Type
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bounds: tuple[float, ...] = ()


def _counter(help: str, **labels: tuple[str, ...]) -> Series:
    return Series(Type.COUNTER, help, labels)


def _gauge(help: str, *labels: str) -> Series:
    return Series(Type.GAUGE, help, dict.fromkeys(labels, ()))


_RESULTS = ("pass", "fail", "softfail", "neutral", "none", "policy", "temperror", "permerror")
# Counted by the workers and the supervisor, without prefix and `_total`.
COUNTED: Mapping[str, Series] = {
    "connections": _counter(
        "Connections of clients: `served`, counted at their end, or `refused` at once.", outcome=("served", "refused")
    ),
    "messages": _counter(
        "Messages by the reply to their end: `accepted` by a server, `queued` for at least one recipient, `refused`"
        " (5xx) or `deferred` (4xx).",
        outcome=("accepted", "queued", "refused", "deferred"),
    ),
    "recipients": _counter(
        "Recipients that were accepted, by what verified them; `queue` stands for not verified.",
        verified=("server", "cache", "queue"),
    ),
    "refusals": _counter(
        "Refusals and deferrals by stage, name of the refusal rule (empty if none) and reply code. `summarized` are"
        " recipients of guessing clients.",
        stage=("connection", "command", "relay", "recipient", "message", "summarized"),
        rule=(),
        code=(),
    ),
    "findings": _counter(
        "Findings of the scan, and the action taken. `infected` are viruses.",
        finding=("infected", "encrypted", "over_limits", "unchecked", "attachment"),
        action=("deliver", "strip", "refuse", "quarantine", "discard", "defer"),
    ),
    "spam": _counter(
        "What the spam scan did with messages.",
        action=("pass", "tag", "refuse", "defer", "greylist", "failed", "too_large"),
    ),
    "authentication": _counter(
        "Results of mail authentication.", method=("spf", "dkim", "dmarc", "arc"), result=_RESULTS
    ),
    "deliveries": _counter(
        "Deliveries to servers and to the queue, one for each server of a message. `failed` is no reply.",
        target=("server", "queue"),
        outcome=("accepted", "refused", "failed"),
    ),
    "limits_exceeded": _counter(
        "Rates that were exceeded, and connections that were refused because of a ban.", limit=("rate", "ban")
    ),
    "events": _counter("Events by kind, also those that the journal's limits suppress.", event=tuple(KINDS)),
    "stage_seconds": Series(
        Type.HISTOGRAM,
        "Duration of a stage: `verify` of a recipient with its server; `dns` of a look-up; `scan` of a message for"
        " viruses and spam; `delivery` to a server or the queue; `message` from its end to the reply.",
        {"stage": ("verify", "dns", "scan", "delivery", "message")},
        SECONDS,
    ),
    "message_size_bytes": Series(Type.HISTOGRAM, "Size of messages as received.", bounds=BYTES),
}
# Read when Prometheus asks, without prefix.
READ: Mapping[str, Series] = {
    "build_info": _gauge("Always 1; versions as labels.", "version", "python"),
    "ready": _gauge("Whether `/ready` answers 200."),
    "healthy": _gauge("Whether a check of `/health` passes.", "check"),
    "probe_success": _gauge("Whether the values of this group could be read; if not, they are missing.", "probe"),
    "workers": _gauge("Worker processes that should run."),
    "workers_alive": _gauge("Worker processes with a heartbeat in the last 30 seconds."),
    "routes": _gauge("Domains in the delivery table."),
    "current_connections": _gauge("Connections of clients now."),
    "current_connections_limit": _gauge("Setting `limits.max_connections`."),
    "current_transactions": _gauge("Transactions with a recipient now."),
    "current_transactions_limit": _gauge("Setting `limits.max_transactions`."),
    "current_message_bytes": _gauge("Size of the messages in memory now."),
    "current_message_bytes_limit": _gauge("Setting `limits.max_bytes_in_flight`."),
    "process_cpu_seconds": Series(
        Type.COUNTER, "Processor time of a process; a worker that is replaced begins again.", {"process": ()}
    ),
    "process_resident_memory_bytes": _gauge("Memory of a process; what processes share counts in each.", "process"),
    "process_open_fds": _gauge("Open files of a process.", "process"),
    "scanner_up": _gauge("Whether a clamd answers.", "scanner"),
    "scanner_signature_timestamp_seconds": _gauge("When the signatures of a clamd were made.", "scanner"),
    "queue_messages": _gauge("Messages in the queue."),
    "queue_oldest_timestamp_seconds": _gauge("When the oldest message in the queue was queued; missing if none."),
    "quarantine_messages": _gauge("Messages in the quarantine."),
    "quarantine_bytes": _gauge("Size of the messages in the quarantine."),
    "quarantine_limit_bytes": _gauge("Setting `quarantine.max_bytes`."),
    "bans": _gauge("Banned networks."),
    "greylist_senders": _gauge("Senders in the greylist that wait (`waiting`) or have waited (`passed`).", "state"),
    "verification_cache_entries": _gauge("Cached recipients `known` and `unknown`, and domains `catch_all`.", "state"),
    "state_free_bytes": _gauge("Free space of the state directory's file system, for the service."),
    "state_size_bytes": _gauge("Size of the state directory's file system."),
    "event_files_bytes": _gauge("Size of the files of events."),
    "event_files_unindexed_bytes": _gauge("Size of the events that the index does not have yet."),
    "shared_store_up": _gauge("Whether the shared store answers; missing without one."),
}


def full_name(name: str) -> str:
    """Return the name under which Prometheus stores a metric, without the suffixes of a histogram."""
    series = COUNTED.get(name) or READ[name]
    return f"{PREFIX}{name}{'_total' if series.type is Type.COUNTER else ''}"
