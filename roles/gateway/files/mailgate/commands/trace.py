# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate trace ADDRESS|ID|MESSAGE-ID`: what happened to a mail, in words, step by step, and where it is now."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field

from mailgate.commands.event_lines import clean, wants_colours, when
from mailgate.commands.event_options import EventReader, add_period, address_terms, key_of
from mailgate.commands.mail_queue import LogLine, QueuedMessage, QueueUnreadableError, log_of, waiting
from mailgate.config import LANGUAGES, Config
from mailgate.config_file import load_config
from mailgate.event_index.query import Query
from mailgate.event_index.shard import time_of
from mailgate.event_index.terms import Event, recipients_of, verdict_of
from mailgate.message import ID_LENGTH
from mailgate.translation import N_, Translator, translator

# Events that are read for each mail that is shown: several refused recipients have the id of one.
_EVENTS_EACH = 20
_MAX_RECIPIENTS = 20

STEPS = {
    "abandoned": N_("The client ended the transaction without a message ({reason})."),
    "command_refused": N_("The command {command} of {client} ({helo}) was refused: {reply}"),
    "connection": N_("The connection of {client} ended: messages {messages}, refused recipients {refused}."),
    "connection_closed": N_("The gateway closed the connection of {client}: {reply}"),
    "connection_refused": N_("The connection of {client} was refused: {reply}"),
    "conversion_needed": N_("The server does not accept 8-bit mail; the queue converts it."),
    "delivered": N_("The server {next_hop} accepted it for {recipients}: {reply}"),
    "delivered_in_part": N_("The queue failed for {failed} after others had the message: {reason}"),
    "early_talker": N_("{client} spoke before the greeting."),
    "finding": N_("The inspection found {name} ({finding}); action: {action}; removed: {removed}."),
    "hop_refused": N_("The server {next_hop} refused it for {recipients}: {reply}"),
    "message": N_("{client} ({helo}) sent it from {sender} to {recipients}, {size} bytes; answered: {reply}"),
    "next_hop_down": N_("No server of {recipient} answered: {reason}"),
    "next_hop_lost": N_("The server did not answer to the message: {reason}"),
    "no_encryption": N_("STARTTLS of {client} failed: {reason}"),
    "not_kept": N_("The quarantine failed: {reason}"),
    "not_scanned": N_("The virus scan gave no verdict: {reason}"),
    "pipelining": N_("{client} did not wait for a reply."),
    "queue_down": N_("The queue did not answer: {reason}"),
    "queue_refused": N_("The queue refused it for {recipients}: {reply}"),
    "queued": N_("The queue of the gateway accepted it for {recipients}: {reply}"),
    "recipient": N_("The recipient {recipient} was accepted (verified by: {verified})."),
    "recipient_refused": N_("The recipient {recipient} was refused (rule: {rule}): {reply}"),
    "relay_refused": N_("The recipient {recipient} was refused, because {client} may not relay: {reply}"),
    "resent": N_("The client sent it again; not delivered a second time to {recipients}."),
    "rule_log_only": N_("Rules would apply to {recipient}, but are logged only: {rules}"),
    "unsent_bounce": N_("It is a bounce for {recipients}, who sent nothing by the gateway; action: {action}."),
    "verification_server_down": N_("The verification server of {recipient} did not answer: {reason}"),
    "verification_server_refused": N_("The verification server of {recipient} refused the gateway: {reply}"),
}
# What else the event of a message can have, by the field that it has then.
DETAILS = {
    "dmarc": N_("Mail authentication: SPF {spf}, DKIM {dkim}, DMARC {dmarc}, ARC {arc}."),
    "signed": N_("The gateway signed it for {signed} (DKIM, selector {selector})."),
}
_OTHER = N_("Event {event}.")
_LOG = N_("Queue {id}: {text}")
_NOW = N_("Now:")
_DELIVERED = N_("{recipients}: on the server {next_hop}; its log has it as {queue_id}.")
_DELIVERED_SOMEHOW = N_("{recipients}: on the server {next_hop}.")
_WAITS = N_("{recipients}: in the queue of this gateway as {queue_id}: {reason}")
_LEFT_QUEUE = N_("{recipients}: no longer in the queue ({queue_id}): {text}")
_LEFT_UNSEEN = N_("{recipients}: no longer in the queue ({queue_id}), and the log has no result.")
_QUEUE_OF_ANOTHER = N_("{recipients}: was given to the queue of {gateway} as {queue_id}; run mailgate trace there.")
_QUEUE_UNKNOWN = N_("{recipients}: was given to the queue as {queue_id}; run as root to see where it is.")
_QUARANTINED_ELSEWHERE = N_("The quarantine of {gateway} has the original; see mailgate quarantine show {id} there.")
_QUARANTINED = N_("The quarantine has the original; see mailgate quarantine show {id}.")
_ALREADY = N_("{recipients}: had it from an earlier attempt.")
_DEFERRED = N_("The sender's server has it and tries again.")
_REFUSED = N_("It was refused; the sender's server reports that to the sender.")
_ENDED = N_("The gateway never had the message; the client may try again.")
_OPEN = N_("The gateway has not answered yet, or was stopped before it answered; then the client tries again.")
_NOT_FOUND = N_("Nothing is recorded about {subject}.")


@dataclass
class Trace:
    """One mail: its events by time, and what the queue and its log say."""

    id: str
    events: list[Event]
    log: list[LogLine] = field(default_factory=list)
    queued: list[QueuedMessage] | None = None


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("subject", metavar="ADDRESS|ID|MESSAGE-ID", help="address, id, queue id or Message-ID")
    add_period(parser)
    parser.add_argument("--limit", type=int, default=5, metavar="N", help="newest mails to show (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--language", choices=LANGUAGES, help="language (default: the language setting)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what happened; exit status 1 if nothing is recorded."""
    config = load_config(options.config)
    translate = translator(options.language or config.language)
    with closing(EventReader(config)) as reader:
        found = traces(config, options, reader)
    if options.json:
        print(json.dumps([_as_json(each, translate) for each in found], indent=2))
    elif not found:
        print(translate(_NOT_FOUND).format(subject=clean(options.subject)))
    else:
        print("\n\n".join("\n".join(lines(each, translate, colours=wants_colours())) for each in found))
    return 0 if found else 1


def traces(config: Config, options: argparse.Namespace, reader: EventReader) -> list[Trace]:
    """Return the mails that the arguments ask for, oldest first, with what the queue says about them."""
    found = [Trace(number, events) for number in _ids(reader, config, options) if (events := _events(reader, number))]
    ids = {each: trace for trace in found for each in _queue_ids(trace.events)}
    if ids:
        try:
            queue: list[QueuedMessage] | None = waiting()
        except QueueUnreadableError:
            queue = None
        for line in log_of(ids, min(time_of(event) for trace in found for event in trace.events)):
            ids[line.id].log.append(line)
        for trace in found:
            own = _queue_ids(trace.events)
            trace.queued = None if queue is None else [each for each in queue if each.id in own]
    return sorted(found, key=lambda trace: time_of(trace.events[0]))


def _events(reader: EventReader, number: str) -> list[Event]:
    """Return the events of a transaction, or of a connection without one."""
    own = reader.of(number)
    exact = [event for event in own if str(event.get("id", ""))[:ID_LENGTH] == number]
    return exact or own


def _ids(reader: EventReader, config: Config, options: argparse.Namespace) -> list[str]:
    """Return the ids of the newest mails, newest first."""
    subject = options.subject.strip()
    events: list[Event] = []
    if "@" in subject:
        hashes = key_of(config)
        plain = subject.strip("<>")
        query = Query(
            terms=(
                (
                    *address_terms("from", plain, hashes),
                    *address_terms("to", plain, hashes),
                    ("number", f"<{plain}>"),
                ),
            ),
            since=options.since.timestamp() if options.since else 0.0,
            until=options.until.timestamp() if options.until else float("inf"),
            limit=max(1, options.limit) * _EVENTS_EACH,
        )
        events = reader.find(query)
    else:
        events = list(reversed(reader.of(subject)))
    ids = dict.fromkeys(str(event["id"])[:ID_LENGTH] for event in events if event.get("id"))
    if subject in ids:
        return [subject]
    return list(ids)[: max(1, options.limit)]


def _queue_ids(events: Sequence[Event]) -> set[str]:
    """Return the ids under which the gateway's queue has the message."""
    return {
        str(event["queue_id"])
        for event in events
        if event.get("event") == "queued" and event.get("queue_id") and "gateway" not in event
    }


def lines(trace: Trace, translate: Translator, *, colours: bool = False) -> Iterator[str]:
    """Yield the steps and the result."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if colours else ("", "")
    yield f"{bold}{clean(trace.id)}{plain}"
    for moment, text in steps(trace, translate):
        yield f"  {when({'time': moment})}  {text}"
    yield f"  {bold}{translate(_NOW)}{plain}"
    for text in outcome(trace, translate):
        yield f"    {text}"


def steps(trace: Trace, translate: Translator) -> list[tuple[float, str]]:
    """Return time and text of each step."""
    found = [(time_of(event), text) for event in trace.events for text in _texts(event, translate)]
    found += [(line.time, translate(_LOG).format(id=clean(line.id), text=clean(line.text))) for line in trace.log]
    return sorted(found, key=lambda step: step[0])


class _Fields(dict[str, str]):
    """Fields of an event as text; a missing one is `-`."""

    def __missing__(self, key: str) -> str:
        return "-"


def _texts(event: Event, translate: Translator) -> Iterator[str]:
    """Yield what an event says."""
    fields = _Fields({name: _shown(name, value) for name, value in event.items()})
    yield translate(STEPS.get(str(event.get("event")), _OTHER)).format_map(fields)
    if event.get("event") == "message":
        for field, text in DETAILS.items():
            if field in event:
                yield translate(text).format_map(fields)


def _shown(name: str, value: object) -> str:
    if isinstance(value, list):
        shown = ", ".join(clean(each) for each in value[:_MAX_RECIPIENTS])
        return f"{shown}, … ({len(value)})" if len(value) > _MAX_RECIPIENTS else shown
    return "<>" if name == "sender" and not value else clean(value)


def outcome(trace: Trace, translate: Translator) -> Iterator[str]:
    """Yield where the mail is now."""
    by_kind: dict[str, list[Event]] = {}
    for event in trace.events:
        by_kind.setdefault(str(event.get("event")), []).append(event)
    for event in by_kind.get("delivered", ()):
        yield translate(_DELIVERED if "queue_id" in event else _DELIVERED_SOMEHOW).format(
            recipients=_names(event),
            next_hop=clean(event.get("next_hop", "-")),
            queue_id=clean(event.get("queue_id", "-")),
        )
    for event in by_kind.get("queued", ()):
        yield _queue_state(event, trace, translate)
    for event in by_kind.get("resent", ()):
        yield translate(_ALREADY).format(recipients=_names(event))
    for event in by_kind.get("finding", ()):
        if event.get("action") == "quarantine":
            text = _QUARANTINED_ELSEWHERE if event.get("gateway") else _QUARANTINED
            yield translate(text).format(id=clean(event.get("id", "-")), gateway=clean(event.get("gateway", "")))
    ends = [*by_kind.get("message", ()), *(by_kind.get("recipient_refused", ())), *by_kind.get("relay_refused", ())]
    ends += [*by_kind.get("command_refused", ()), *by_kind.get("connection_refused", ())]
    verdict = verdict_of(ends[0]) if ends else ""
    if verdict == "deferred":
        yield translate(_DEFERRED)
    elif verdict == "refused":
        yield translate(_REFUSED)
    elif "message" not in by_kind and "abandoned" in by_kind:
        yield translate(_ENDED)
    elif not ends:
        yield translate(_OPEN)


def _queue_state(event: Event, trace: Trace, translate: Translator) -> str:
    """Return where a message is that was given to the queue."""
    number = clean(event.get("queue_id", "-"))
    names = _names(event)
    if gateway := event.get("gateway"):
        return translate(_QUEUE_OF_ANOTHER).format(recipients=names, queue_id=number, gateway=clean(gateway))
    if trace.queued is None:
        return translate(_QUEUE_UNKNOWN).format(recipients=names, queue_id=number)
    for message in trace.queued:
        if message.id == event.get("queue_id"):
            recipients = ", ".join(clean(each) for each in message.recipients) or names
            return translate(_WAITS).format(recipients=recipients, queue_id=number, reason=clean(message.reason) or "-")
    results = [line.text for line in trace.log if line.id == event.get("queue_id") and "stat=" in line.text]
    text = _LEFT_QUEUE if results else _LEFT_UNSEEN
    return translate(text).format(
        recipients=names, queue_id=number, text=clean(results[-1].partition("stat=")[2]) if results else ""
    )


def _names(event: Event) -> str:
    return _shown("recipients", recipients_of(event)) or "-"


def _as_json(trace: Trace, translate: Translator) -> Mapping[str, object]:
    """Return a trace as an object of JSON; texts are in the language that was asked for."""
    return {
        "id": trace.id,
        "events": trace.events,
        "queue": None if trace.queued is None else [asdict(message) for message in trace.queued],
        "steps": [{"time": moment, "text": text} for moment, text in steps(trace, translate)],
        "now": list(outcome(trace, translate)),
    }
