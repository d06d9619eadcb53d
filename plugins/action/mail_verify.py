# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_verify: ask the host of the task, or from it; everything else is in plugin_utils."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase

from ..plugin_utils._survey.questions import VARIABLES, ask
from ..plugin_utils._verify import questions
from .mail_survey import call

ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "side": {"type": "str", "choices": [questions.OUTSIDE, questions.INSIDE]},
    "alone": {"type": "bool", "default": False},
    "resolvers": {"type": "list", "elements": "str"},
    "stranger": {"type": "str", "default": "example.com"},
    "outbound": {"type": "list", "elements": "str", "default": []},
    "seconds": {"type": "int", "default": 60},
    "mailboxes": {"type": "list", "elements": "str", "default": []},
    "sent": {"type": "list", "elements": "dict", "default": []},
}
_REPLY_SECONDS = 20
# The clocks of the hosts may differ.
_CLOCK_SECONDS = 300


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of mail_verify. A host that cannot be asked is a result, never an unreachable or failed host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the facts of the host of the task, or what it finds as a vantage point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS)
        variables = task_vars or {}
        started = time.time()
        if args["mailboxes"]:
            found = self._send(args, variables)
        elif args["sent"]:
            found = self._find(args, variables)
        else:
            found = self._probe(args, variables) if args["side"] else self._read(args, variables)
        return (
            result
            | {"changed": False, "host": variables["inventory_hostname"], "started": started, "ended": time.time()}
            | found
        )

    def _read(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Return the facts of the host itself."""
        host = variables["inventory_hostname"]
        values = {name: variables["hostvars"][host][name] for name in VARIABLES if name in variables["hostvars"][host]}
        asked = ask(host, values, args["plan"])
        common = {"functions": list(asked.functions), "foreign": asked.foreign, "outbound": [], "outbound_reason": ""}
        if asked.refusal or asked.foreign:
            return common | {"facts": {}, "unreachable_reason": asked.refusal}
        # Whether the role would accept the configuration is the survey's question.
        trial = ("name", "listen")
        arguments = {name: each for name, each in asked.arguments.items() if name not in trial}
        arguments["seconds"] = args["seconds"]
        done, reason = call(self, "campus.mailgate.mail_verify", arguments, variables)
        if not reason and questions.connects_out(asked.functions):
            common |= self._connect_out(args, variables)
        return common | {"facts": done.get("facts", {}), "unreachable_reason": reason}

    def _connect_out(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Return which servers outside of the campus the host can connect to."""
        servers = questions.outbound(args["outbound"])
        if not servers:
            return {}
        done, reason = call(self, "campus.mailgate.smtp_probe", {"servers": servers}, variables)
        return {"outbound": done.get("servers", []), "outbound_reason": reason}

    def _send(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Send the test messages from the host."""
        if unknown := [address for address in args["mailboxes"] if not questions.home(args["plan"], address)]:
            return {
                "failed": True,
                "msg": f"no message was sent. The gateways do not accept the domain of {', '.join(unknown)}."
                " Correct mailgate_verify_mailboxes",
            }
        arguments = {"mailboxes": args["mailboxes"], "exchanges": questions.exchanges(args["plan"])}
        done, reason = call(self, "campus.mailgate.mail_send", arguments, variables)
        homes = sorted({questions.home(args["plan"], address) for address in args["mailboxes"]})
        return {"messages": done.get("messages", []), "homes": homes, "unreachable_reason": reason}

    def _find(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Read what the host's log says of the test messages for its mailboxes."""
        host, plan = variables["inventory_hostname"], args["plan"]
        own = [
            message
            for place in args["sent"]
            for message in place.get("messages", ())
            if message["accepted"] and questions.home(plan, message["address"]) == host
        ]
        if not own or not questions.reads(plan, host):
            return {"found": {}, "unreachable_reason": ""}
        since = min(message["started"] for message in own) - _CLOCK_SECONDS
        arguments = {"ids": [message["id"] for message in own], "since": since, "seconds": args["seconds"]}
        done, reason = call(self, "campus.mailgate.mail_log", arguments, variables)
        return {"found": done.get("found", {}), "unreachable_reason": reason}

    def _probe(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Return what the host finds as a vantage point."""
        plan, side = args["plan"], args["side"]
        servers = questions.smtp(plan, side, alone=args["alone"])
        outbound = questions.outbound(args["outbound"]) if side == questions.OUTSIDE else []
        smtp, reason = call(
            self,
            "campus.mailgate.smtp_probe",
            {"servers": servers + outbound, "stranger": args["stranger"], "timeout": _REPLY_SECONDS},
            variables,
        )
        asked = questions.dns(plan, side) | ({} if args["resolvers"] is None else {"resolvers": args["resolvers"]})
        dns, problem = ({}, "") if reason and not smtp else call(self, "campus.mailgate.dns_probe", asked, variables)
        return {
            "side": side,
            "smtp": {"servers": smtp.get("servers", [])[: len(servers)]},
            "outbound": smtp.get("servers", [])[len(servers) :],
            "dns": {name: dns[name] for name in ("zones", "mx", "names", "ptr", "resolvers") if name in dns},
            "unreachable_reason": reason,
            "dns_reason": problem,
        }
