# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_discover: read zones and write the draft; everything else is in plugin_utils."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils._discover import zone as dns_zone
from ..plugin_utils._discover.discover import Draft, Server, Settings, ZoneData, discover
from ..plugin_utils._discover.draft import files
from ..plugin_utils._discover.write import current, write_all
from ..plugin_utils._inventory.names import host_name, ipv4, network

KEY = {
    "name": {"type": "str", "required": True},
    "algorithm": {"type": "str", "default": "hmac-sha256", "choices": list(dns_zone.ALGORITHMS)},
    "secret": {"type": "str", "required": True, "no_log": True},
}
SERVER = {
    "host": {"type": "str", "required": True},
    "zones": {"type": "list", "elements": "str", "required": True},
    "address": {"type": "str"},
    "port": {"type": "int", "default": 53},
    "key": {"type": "dict", "options": KEY},
    "key_file": {"type": "path"},
    "files": {"type": "dict", "default": {}},
    "named_conf": {"type": "str", "default": ""},
}
ARGUMENTS = {
    "domain": {"type": "str", "required": True},
    "name": {"type": "str"},
    "servers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": SERVER,
        "mutually_exclusive": [("key", "key_file")],
    },
    "gateways": {"type": "list", "elements": "str", "required": True},
    "networks": {"type": "list", "elements": "str", "default": []},
    "faculties": {"type": "dict", "default": {}},
    "directory": {"type": "path", "required": True},
    "overwrite": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 30},
    "show": {"type": "bool", "default": False},
}

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no types
    """The action of mail_discover: it writes all files, or reports all problems and writes none."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the files of the draft, and the questions that the admin must decide."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS)
        if not dns_zone.HAS_DNSPYTHON:
            raise AnsibleActionFail(
                "dnspython is not installed on the controller: install it in the environment of ansible-core"
            )
        reader = Reader(args)
        settings, zones = reader.settings(), reader.zones()
        if reader.problems:  # displayed for the same reason as the problems of mail_plan
            display.display(reader.report(), color=constants.COLOR_ERROR, stderr=True)
            return result | {"failed": True, "msg": f"{heading(len(reader.problems))}; they are listed above"}
        draft = discover(settings, zones)
        texts = files(draft)
        directory = Path(args["directory"]).absolute()
        before, changed = _update(directory, texts, args["overwrite"], bool(self._task.check_mode))
        unrelated = {f"faculties/{path.name}" for path in directory.glob("faculties/*.yml")} - texts.keys()
        draft.remarks += [
            f"{directory / name} is part of the inventory, but not of this draft" for name in sorted(unrelated)
        ]
        text = summary(draft, zones, directory, changed)
        if args["show"]:
            display.display(text)
        return result | {
            "changed": bool(changed),
            "diff": [
                {
                    "before": before[name] or "",
                    "after": new,
                    "before_header": str(directory / name),
                    "after_header": str(directory / name),
                }
                for name, new in changed.items()
            ],
            "files": [str(directory / name) for name in texts],
            "questions": draft.questions,
            "remarks": draft.remarks,
            "text": text,
        }


def _update(
    directory: Path, texts: Mapping[str, str], overwrite: bool, check_only: bool
) -> tuple[dict[str, str | None], dict[str, str]]:
    """Write the files that differ; return the previous content of all files, and the new content of changed ones."""
    try:
        before = current(directory, texts)
        changed = {name: text for name, text in texts.items() if before[name] != text}
        foreign = [name for name in changed if before[name] is not None]
        if foreign and not overwrite:
            raise AnsibleActionFail(_refusal(directory, foreign))
        if changed and not check_only:
            write_all(directory, changed)
    except OSError as error:
        raise AnsibleActionFail(f"{directory}: nothing was written: {error}") from error
    return before, changed


def _refusal(directory: Path, names: Sequence[str]) -> str:
    listed = "".join(f"\n  {directory / name}" for name in names)
    return (
        f"nothing was written, because these files exist and differ:{listed}\n"
        "Use another directory, or set overwrite; with overwrite, --check --diff shows the changes."
    )


def heading(count: int) -> str:
    """Return the heading of a list of ``count`` problems."""
    return f"{count} problem{'' if count == 1 else 's'}, nothing was written"


class Reader:
    """Reads the arguments as settings and zones; problems are collected and reported together."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self.args = args
        self.problems: list[str] = []

    def report(self) -> str:
        """Return a heading and a numbered list of the problems."""
        lines = [f"  {number}. {problem}" for number, problem in enumerate(self.problems, 1)]
        return "\n".join([f"{heading(len(lines))}:", *lines])

    def add_problem(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def settings(self) -> Settings:
        """Return the settings of the admin."""
        args = self.args
        servers = tuple(
            Server(
                self.name("servers.host", server["host"]),
                tuple(self.name(f"servers: {server['host']}: zones", zone) for zone in server["zones"]),
                self.address(server, needed=False),
                server["named_conf"],
            )
            for server in args["servers"]
        )
        faculties = {}
        for domain, group in args["faculties"].items():
            if not (isinstance(group, str) and group.isidentifier()):
                self.add_problem(f"faculties: {domain}: {group!r} is not a valid group name: use letters, digits and _")
            faculties[self.name("faculties", domain)] = str(group)
        return Settings(
            domain=self.name("domain", args["domain"]),
            name=args["name"] or args["domain"],
            servers=servers,
            gateways=tuple(self.name("gateways", gateway) for gateway in args["gateways"]),
            networks=tuple(net for text in args["networks"] for net in self.network(text)),
            faculties=faculties,
        )

    def name(self, where: str, value: object) -> str:
        """Return a host or domain name in A-labels."""
        try:
            return host_name(value)
        except ValueError as error:
            self.add_problem(f"{where}: {error}")
            return ""

    def network(self, value: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """Return a network in a list; an invalid one is reported and omitted."""
        try:
            return [network(value)]
        except ValueError as error:
            self.add_problem(f"networks: {error}. Use CIDR form: 198.18.0.0/16")
            return []

    def address(self, server: Mapping[str, Any], needed: bool) -> str:
        """Return the address of a server; a transfer needs one, because its name may not resolve yet."""
        value = server["address"]
        if value is None:
            if needed:
                self.add_problem(f"servers: {server['host']}: set its address, or files for all of its zones")
            return ""
        try:
            return str(ipaddress.ip_address(value)) if needed else ipv4(value)
        except ValueError:
            try:
                ipaddress.ip_address(value)
            except ValueError:
                self.add_problem(f"servers: {server['host']}: address: '{value}' is not a valid address")
            return ""

    def zones(self) -> list[ZoneData]:
        """Read every zone of every server."""
        return [zone for server in self.args["servers"] for zone in self.server(server)]

    def server(self, server: Mapping[str, Any]) -> list[ZoneData]:
        """Read the zones of one server, from files where given, else by transfer."""
        host = server["host"]
        unknown = server["files"].keys() - set(server["zones"])
        for zone in sorted(unknown):
            self.add_problem(f"servers: {host}: files: '{zone}' is not one of its zones")
        try:
            key = self.key(server)
        except dns_zone.ReadError as error:
            self.add_problem(f"servers: {host}: {server['key_file']}: {error}")
            return []
        found = []
        for value in server["zones"]:
            zone = self.name(f"servers: {host}: zones", value)
            try:
                if value in server["files"]:
                    found.append(dns_zone.read_file(Path(server["files"][value]).expanduser().absolute(), zone))
                elif zone and (address := self.address(server, needed=True)):
                    display.v(f"transferring {zone} from {host} ({address})")
                    found.append(dns_zone.transfer(zone, address, server["port"], key, self.args["timeout"]))
            except dns_zone.ReadError as error:
                self.add_problem(f"servers: {host}: zone {value}: {error}")
        return found

    def key(self, server: Mapping[str, Any]) -> dns_zone.Key | None:
        """Return the key of the server, from the variable or from a file as tsig-keygen writes it."""
        if server["key"]:
            return dns_zone.Key(**server["key"])
        if not server["key_file"]:
            return None
        try:
            return dns_zone.read_key(Path(server["key_file"]).read_text(encoding="latin-1"))
        except OSError as error:
            raise dns_zone.ReadError(str(error)) from None


def summary(draft: Draft, zones: Sequence[ZoneData], directory: Path, changed: Mapping[str, str]) -> str:
    """Return a text with the numbers of the draft and the open questions."""
    servers = [host for hosts in draft.faculties.values() for host in hosts]
    domains = sum(len(host.domains) for host in servers)
    found = f"{domains} mail domains on {len(servers)} servers in {len(draft.faculties)} faculties"
    lines = [
        f"{len(zones)} zones read: {found}.",
        f"{len(changed)} files of the draft in {directory} are new or changed.",
    ]
    if draft.questions:
        lines += [f"To decide, each marked TODO in its file ({len(draft.questions)}):"]
        lines += [f"  {question}" for question in draft.questions]
    if draft.remarks:
        lines += ["Remarks:", *(f"  {remark}" for remark in draft.remarks)]
    lines.append(
        "Not in DNS, to be added: border routers (also marked TODO), hubs, permits. Then run playbooks/plan.yml."
    )
    return "\n".join(lines)
