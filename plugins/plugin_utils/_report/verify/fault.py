# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that a verification finds: for each kind what is wrong, why it matters, and how to fix it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..translations import N_, Translations

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: its level, and its texts, with names of values in braces."""

    level: str
    what: str
    why: str
    fix: str


_LOST = N_("Mail is delayed, and returned to its senders after some days.")
_BYPASS = N_("Mail gets in without the virus scan and the recipient checks of the gateways.")
_SPAM = N_("Strangers can send spam through it, and other sites will then block the campus.")
_DIFFER = N_("Senders get different answers, depending on the server that they ask.")
_DRIFT = N_("The host does not do what the plan says, or will not after its next restart.")
_SITE = N_("Run site.yml for this host with --check --diff, then without")

#: In the order of the report: causes come before what they cause.
KINDS: dict[str, Kind] = {
    "unreachable": Kind(
        ERROR,
        N_("The host cannot be reached: {reason}"),
        N_("Nothing is known about it, and mail that needs it waits."),
        N_("Check that it is on, its network, and the SSH access of the controller"),
    ),
    "vantage": Kind(
        ERROR,
        N_("Nothing was probed from here: {reason}"),
        N_("What senders find is not known."),
        N_("Correct the access to this host, or choose other vantage points"),
    ),
    "scanner": Kind(
        ERROR,
        N_("The virus scanner does not work: {text}"),
        N_("The gateway defers all mail until the scanner answers."),
        N_("Look at systemctl status clamav-daemon, and start it"),
    ),
    "second_mta": Kind(
        ERROR,
        N_("Another mail server is on this host: {text}"),
        N_("It can take port 25 or mail that the planned server should get."),
        N_("Remove it, or correct mailgate_mta of this host"),
    ),
    "service": Kind(
        ERROR, N_("The gateway's service reports a failure: {text}"), _LOST, N_("Look at mailgate status on this host")
    ),
    "relay": Kind(
        ERROR,
        N_("It accepts mail for strangers: {count} of {tried} forms, for example {form}: RCPT TO:{recipient}"),
        _SPAM,
        N_("Correct what it relays; the networks that it relays from must not include strangers"),
    ),
    "rules": Kind(
        ERROR,
        N_("The port-25 rules are not in place: {text}"),
        _BYPASS,
        N_("Run systemctl restart mailgate-border on this router, then find out who changes the rules"),
    ),
    "guard": Kind(
        ERROR,
        N_("The guard of the port-25 rules does not run: {text}"),
        N_("Nobody puts the rules back if another program removes them."),
        N_("Correct the reason, and start mailgate-border-guard.service"),
    ),
    "blocked": Kind(
        ERROR,
        N_("Its own rules block mail to the gateway {address}: {text}"),
        _LOST,
        N_("Accept TCP port 25 to the gateways before this rule"),
    ),
    "loop": Kind(
        ERROR,
        N_("Mail loop for {domain}: {path}"),
        N_("It never arrives; it is returned when it has passed too many servers."),
        N_("Run site.yml for these hosts; a route on one of them is not that of the plan"),
    ),
    "route": Kind(
        ERROR,
        N_("Mail for {domains} is sent to {found}; planned: {planned}"),
        N_("It goes to another server than the plan says, or nowhere."),
        _SITE,
    ),
    "route_missing": Kind(
        ERROR,
        N_("The host has no route for {domains}"),
        N_("The host refuses this mail or sends it by MX."),
        _SITE,
    ),
    "route_extra": Kind(
        ERROR,
        N_("It routes {domains}, which the plan does not have"),
        N_("It accepts mail that nobody planned."),
        _SITE,
    ),
    "not_local": Kind(
        ERROR, N_("It does not deliver {domains} locally"), N_("The host refuses this mail or sends it on."), _SITE
    ),
    "stale": Kind(
        ERROR,
        N_("Zone {zone}: {address} has serial {serial}, but {primary} has {newest}"),
        _DIFFER,
        N_("Check that it may transfer the zone and gets notified; rndc retransfer {zone} on it"),
    ),
    "lame": Kind(
        ERROR,
        N_("Zone {zone}: the name server {address} does not serve it ({reason})"),
        N_("Queries that go there fail or take longer, and mail is delayed."),
        N_("Make it serve the zone, or remove its NS record"),
    ),
    "delegation": Kind(
        ERROR,
        N_("Zone {zone}: the parent zone names {parent}, the zone itself {own}"),
        _DIFFER,
        N_("Make the NS records in both zones equal"),
    ),
    "glue": Kind(
        ERROR,
        N_("Zone {zone}: the parent zone has no address for the name server {name}"),
        N_("Resolvers may not find the zone, and then no mail arrives."),
        N_("Add its address records to the parent zone"),
    ),
    "no_address": Kind(
        ERROR,
        N_("The mail exchange {name} has no address in DNS"),
        N_("Senders cannot connect to it."),
        N_("Add its A and AAAA records"),
    ),
    "address": Kind(
        ERROR,
        N_("{name} has the addresses {found} in DNS; the inventory has {planned}"),
        N_("Senders connect to the wrong address, or do not know one of the right ones."),
        N_("Correct its A and AAAA records, or the inventory"),
    ),
    "alias": Kind(
        ERROR,
        N_("The mail exchange {name} is a CNAME"),
        N_("Some senders do not follow it (RFC 5321, section 5.1)."),
        N_("Give it address records of its own"),
    ),
    "mx": Kind(
        ERROR,
        N_("The MX records of {domains} are {found}; planned: {planned}"),
        N_("Senders use these servers and not the planned ones."),
        N_("Run site.yml with --tags dns for the DNS servers"),
    ),
    "dnssec": Kind(
        ERROR,
        N_("Zone {zone}: DNSSEC is not valid: {text}"),
        N_("Resolvers that validate do not find the campus, and its mail waits or is returned."),
        N_("Sign the zone again, and compare its keys with the DS records of the parent zone"),
    ),
    "resolver": Kind(
        ERROR,
        N_("The resolver answers for {domains} with {found}; planned: {planned}"),
        N_("Senders that use it do not find the planned servers."),
        N_("If the DNS servers are right, wait for the TTL of its cache; then look at the resolver"),
    ),
    "no_resolver": Kind(
        WARNING, N_("The resolver does not answer: {reason}"), N_("What senders find is not known."), N_("Correct it")
    ),
    "closed": Kind(
        ERROR,
        N_("Port 25 of the gateway {address} is not reached: {state}"),
        _LOST,
        N_("Start its service; check its firewall, and the rules of the border routers"),
    ),
    "open": Kind(
        ERROR,
        N_("Port 25 of {address} can be reached"),
        _BYPASS,
        N_("Run site.yml with --tags border; the router must protect all networks of the campus, IPv6 too"),
    ),
    "permit": Kind(
        ERROR,
        N_("Port 25 of {address} is not reached ({state}), although it has a permit"),
        N_("Mail that comes straight to this server is refused."),
        N_("Run site.yml with --tags border; check that the server runs"),
    ),
    "outbound_open": Kind(
        ERROR,
        N_("It can connect to port 25 outside of the campus ({address}, from {source}), and is not a listed sender"),
        N_("Infected hosts can send spam past the gateways, and other sites will then block the campus."),
        N_("Run site.yml with --tags border; if it has to send mail itself, list it in border_firewall_outbound"),
    ),
    "outbound_closed": Kind(
        ERROR,
        N_("It cannot connect to port 25 outside of the campus ({address}): {state}"),
        N_("Its outgoing mail waits, and is returned to its senders after some days."),
        N_("Run site.yml with --tags border; check its routes, and other firewalls on the way"),
    ),
    "silent": Kind(
        ERROR,
        N_("Port 25 of {address} does not answer: {state}"),
        N_("Mail for its domains waits at the gateways."),
        N_("Start its mail server, and check its firewall"),
    ),
    "session": Kind(
        ERROR, N_("Port 25 of {address} answers, but {text}"), _LOST, N_("Look at the log of its mail server")
    ),
    "refused": Kind(
        ERROR,
        N_("It refuses mail for {domains}: {text}"),
        _LOST,
        N_("Run site.yml for this host: its routes must have all domains of the plan"),
    ),
    "deferred": Kind(
        ERROR,
        N_("It defers mail for {domains}: {text}"),
        N_("The final server cannot be asked, so mail waits at its senders."),
        N_("Check the final server of these domains, and the way to it"),
    ),
    "message_refused": Kind(
        ERROR,
        N_("The test message to {address} was not accepted: {text}"),
        _LOST,
        N_("Look at the reply; the mailbox must exist on its server"),
    ),
    "message_missing": Kind(
        ERROR,
        N_("The test message to {address} was accepted by {exchange}, but not delivered: {text}"),
        N_("Mail for this server may be lost or wait where nobody looks."),
        N_("Look at the log of its mail server, and at the queues of the gateways"),
    ),
    "unanswered": Kind(
        WARNING,
        N_("It did not answer for {domains}: {text}"),
        N_("Whether it accepts this mail is not known."),
        N_("Run the verification again, and look at the log of the server"),
    ),
    "unverified": Kind(
        WARNING,
        N_("It accepts unknown users of {domains}, although the final server refuses them"),
        N_("The server must return such mail later, often to forged senders."),
        N_("Check the verification servers of these domains"),
    ),
    "certificate": Kind(
        ERROR,
        N_("Its certificate is not valid: {text}"),
        N_("Senders that check certificates do not deliver; others may send without encryption."),
        N_("Renew the certificate, and reload the service"),
    ),
    "tls": Kind(
        ERROR, N_("STARTTLS fails: {text}"), N_("Senders that require encryption do not deliver."), N_("Check its key")
    ),
    "no_tls": Kind(
        WARNING,
        N_("It does not offer STARTTLS, but {other} does"),
        N_("Mail is encrypted or not, depending on the gateway."),
        N_("Give all gateways a certificate"),
    ),
    "banner": Kind(
        WARNING,
        N_("It greets as {found}, not as {planned}"),
        N_("Some receivers reject mail from a server whose name and address differ."),
        N_("Correct gateway_hostname or the inventory"),
    ),
    "ptr": Kind(
        WARNING,
        N_("The PTR record of {address} is {found}, not {planned}"),
        N_("Many receivers reject mail from an address whose name does not lead back to it."),
        N_("Correct the reverse zone"),
    ),
    "size": Kind(
        WARNING,
        N_("It announces a limit of {declared} bytes, but does not refuse a larger message: {text}"),
        N_("Senders transfer the whole message before it is refused."),
        N_("Look at the size limit of its mail server"),
    ),
    "signatures": Kind(
        WARNING,
        N_("The virus signatures are {days} days old"),
        N_("New viruses are not found."),
        N_("Look at the log of freshclam, and at the proxy that it uses"),
    ),
    "drift": Kind(
        WARNING,
        N_("{path} is not as it was written: {state}"),
        _DRIFT,
        N_("Compare it by site.yml with --check --diff; then keep the change in the inventory, or apply the plan"),
    ),
    "queue": Kind(
        WARNING,
        N_("{count} messages are in its queue, the oldest for {hours} hours"),
        N_("They are late, and are returned after some days."),
        N_("Look at the reasons with mailq on this host"),
    ),
    "ttl": Kind(
        WARNING,
        N_("The MX records of {domains} have a TTL of {found} seconds; expected: {planned}"),
        N_("Too long, and a change takes effect late; too short, and an outage of DNS stops mail at once."),
        N_("Set bind_mx_ttl or correct the zone"),
    ),
    "lowered": Kind(
        WARNING,
        N_("The TTL of its MX records is still lowered"),
        N_("An outage of DNS stops mail at once."),
        N_("Run ttl.yml with -e bind_mx_ttl_phase=restore when the rollout is complete"),
    ),
    "permit_ends": Kind(
        WARNING,
        N_("Its permit for {address} ends on {until}"),
        N_("Then the border closes it, and mail that comes straight to it is refused."),
        N_("Renew or remove its mailgate_permit"),
    ),
    "certificate_ends": Kind(
        WARNING,
        N_("Its certificate ends on {until}"),
        N_("Then senders that check certificates do not deliver."),
        N_("Renew the certificate, and reload the service"),
    ),
    "signatures_end": Kind(
        WARNING,
        N_("Zone {zone}: the first DNSSEC signature ends on {until}"),
        N_("Then resolvers that validate do not find the zone."),
        N_("Check that the server signs the zone again in time"),
    ),
    "clock": Kind(
        WARNING,
        N_("Its clock is wrong by {seconds} seconds"),
        N_("Permits, certificates and logs are judged by the wrong time."),
        N_("Check its time synchronization"),
    ),
    "versions": Kind(
        WARNING,
        N_("It runs version {found} of the service, another gateway {other}"),
        N_("The gateways may treat the same message differently."),
        N_("Run site.yml with --tags gateways"),
    ),
    "repairs": Kind(
        WARNING,
        N_("Another program ({by}) removed the port-25 rules within the last day; the guard put them back"),
        N_("The campus was open for a moment, and will be again."),
        N_("Have that program keep rules of others"),
    ),
    "outbound_unknown": Kind(
        WARNING,
        N_("Connections to port 25 outside of the campus were not verified with {address}: {reason}"),
        N_("Whether infected hosts can send spam past the gateways is not known."),
        N_("Set mailgate_verify_outbound to mail servers outside of the campus that accept connections from everybody"),
    ),
    "unread": Kind(
        WARNING, N_("Not verified: {text}"), N_("A fault here would not be found."), N_("Look at it yourself")
    ),
    "expired_baseline": Kind(
        WARNING,
        N_("An acknowledged fault ended on {until}: {reason}"),
        N_("The fault counts again."),
        N_("Correct the fault, or renew the entry in the baseline"),
    ),
}
_RANKS = {name: rank for rank, name in enumerate(KINDS)}


@dataclass(frozen=True)
class Fault:
    """A fault: its kind, its host, and the values of its texts; `seen` are the vantage points that found it."""

    kind: str
    host: str
    values: Mapping[str, object] = field(default_factory=dict)
    seen: tuple[str, ...] = ()
    key: str = ""

    @property
    def level(self) -> str:
        """Return ERROR or WARNING."""
        return KINDS[self.kind].level

    @property
    def rank(self) -> tuple[int, str, str]:
        """Return what the faults of a report are sorted by."""
        return _RANKS[self.kind], self.host, self.key

    @property
    def id(self) -> str:
        """Return the name by which a baseline acknowledges the fault."""
        return " ".join(filter(None, (self.kind, self.host, self.key)))

    def what(self, catalog: Translations) -> str:
        """Return what is wrong, translated."""
        return catalog.gettext(KINDS[self.kind].what).format(**self.values)

    def why(self, catalog: Translations) -> str:
        """Return why it matters, translated."""
        return catalog.gettext(KINDS[self.kind].why)

    def fix(self, catalog: Translations) -> str:
        """Return how to fix it, translated."""
        return catalog.gettext(KINDS[self.kind].fix).format(**self.values)


def some(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    return ", ".join(names[:3]) + (f" (+{len(names) - 3})" if len(names) > 3 else "")
