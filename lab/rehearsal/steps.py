# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a rehearsal: which playbook with which options, and where in its output something is to fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FORWARD = ("survey", "routes", "gateways", "ttl", "mx", "observe", "block")
BACK = ("observe", "mx", "gateways", "routes", "survey")

#: What goes wrong or is changed beside the rollout, in the order in which they are described.
GATEWAY_DIES, CONTROLLER_DIES, SERVER_DOWN = "gateway-dies", "controller-dies", "server-down"
DOMAIN_MOVES, RENUMBERING, UPGRADE = "domain-moves", "renumbering", "upgrade"
SCENARIOS = {
    GATEWAY_DIES: "a gateway is switched off in each phase, in turn, and on again after it",
    CONTROLLER_DIES: "ansible-playbook is killed (kill -9) in each phase, and run again",
    SERVER_DOWN: "an inner server is off until all phases are over",
    DOMAIN_MOVES: "a domain moves to another server of its faculty, and back",
    RENUMBERING: "an inner server gets another address, and its first one again",
    UPGRADE: "in place of the phases: release 0.1.0 is applied by its site.yml, then this one by site.yml",
}

#: Settings of the rollout's waiting times.
LOWERED_TTL, QUIET_SECONDS = 10, 20
WAITING = (
    "-e", f"bind_mx_ttl_lowered={LOWERED_TTL}", "-e", f"mailgate_rollout_quiet={QUIET_SECONDS}",
    "-e", "mailgate_rollout_interval=3", "-e", "mailgate_rollout_wait_limit=600",
)  # fmt: skip
#: What rollback says while caches have the MX records of the gateways.
STAY = "stay for now"


@dataclass(frozen=True)
class Step:
    """One run of a playbook, and again until it is complete."""

    name: str
    playbook: str
    options: tuple[str, ...] = ()
    #: A part of the first line of the output after which something fails.
    marker: str = "TASK ["
    #: A part of the output of a run that could not be complete yet and is to be run again.
    again: str = ""
    #: Phases that begin within the run: a part of a line of the output, and the name; in order.
    parts: tuple[tuple[str, str], ...] = ()
    #: Files of the inventory that are used after the twin's.
    changes: tuple[str, ...] = ()
    #: Shell commands on hosts before the run, as an admin types them: short name and command.
    commands: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    #: Whether the playbook is that of an early release, which keeps no records of runs.
    early: bool = False


#: Tasks that change hosts; while one of them runs, something is to fail.
_MARKERS = {
    "survey": "TASK [Survey this host]",
    "routes": "TASK [campus.mailgate.sendmail_routes : Apply pending reloads and restarts]",
    "gateways": "TASK [campus.mailgate.gateway : Write routes and settings]",
    "ttl": "TASK [campus.mailgate.bind_mx : Lower or restore the TTLs of the MX records]",
    "mx": "TASK [campus.mailgate.bind_mx : Set the MX records]",
    "observe": "TASK [campus.mailgate.border_firewall : Set the port-25 rules]",
    "block": "TASK [campus.mailgate.border_firewall : Set the port-25 rules]",
}
_MARKERS_BACK = {
    "observe": "TASK [campus.mailgate.border_firewall : Set the port-25 rules]",
    "mx": "TASK [campus.mailgate.border_firewall : Restore the router]",
    "gateways": "TASK [campus.mailgate.bind_mx : Restore the MX records]",
    "routes": "TASK [campus.mailgate.gateway : Restore the host]",
    "survey": "TASK [campus.mailgate.sendmail_routes : Stop the daemon]",
}


def all_steps(*, once: bool, changes: Sequence[tuple[Step, Step]] = ()) -> list[Step]:
    """Return all steps: forward, changes of the campus and their way back, all the way back.

    Args:
        once: one run for all phases.
        changes: the two steps of each change.
    """
    there = list(at_once())[:1] if once else list(forward())
    here = list(at_once())[1:] if once else list(back())
    return [*there, *(step for pair in changes for step in pair), *here]


def at_once() -> Iterator[Step]:
    """Yield one run for all phases, and two for the way back: hosts are asked less often."""
    rests = "PLAY [Read what the next phase rests on]"
    places = (
        ("PLAY [Look at the mail servers and gateways]", "routes"),
        ("PLAY [Install the gateways, the backup first]", "gateways"),
        *((rests, phase) for phase in FORWARD[FORWARD.index("ttl") :]),
    )
    yield Step(FORWARD[0], "playbooks/rollout.yml", WAITING, parts=places)
    restore = ("PLAY [Restore the MX records in DNS]", "back to gateways")
    yield Step("back to mx", "playbooks/rollback.yml", ("-e", "to=gateways", *WAITING), parts=(restore,))
    servers = ("PLAY [Restore the mail servers]", "back to survey")
    yield Step("back to routes", "playbooks/rollback.yml", ("-e", "to=survey", *WAITING), again=STAY, parts=(servers,))


def forward() -> Iterator[Step]:
    """Yield the phases of rollout.yml."""
    for phase in FORWARD:
        yield Step(phase, "playbooks/rollout.yml", ("-e", f"phase={phase}", *WAITING), _MARKERS[phase])


def back() -> Iterator[Step]:
    """Yield the steps of rollback.yml, down to the campus of before."""
    for phase in BACK:
        yield Step(
            f"back to {phase}", "playbooks/rollback.yml", ("-e", f"to={phase}", *WAITING), _MARKERS_BACK[phase],
            again=STAY,
        )  # fmt: skip
