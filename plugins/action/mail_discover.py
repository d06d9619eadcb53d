# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of mail_discover: reads zones and writes the draft; what they mean is decided in plugin_utils."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    """Reads every zone, drafts the inventory and writes its files, or tells all problems and writes none."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what was drafted, which files changed, and what the admin must settle."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS)
        if not dns_zone.HAS_DNSPYTHON:
            raise AnsibleActionFail("dnspython is missing on this machine: install it beside ansible-core")
        reader = Reader(args)
        settings, zones = reader.settings(), reader.zones()
        reader.fail_on_problems()
        draft = discover(settings, zones)
        texts = files(draft)
        directory = Path(args["directory"]).absolute()
        try:
            before = current(directory, texts)
            changed = {name: text for name, text in texts.items() if before[name] != text}
            foreign = [name for name in changed if before[name] is not None]
            if foreign and not args["overwrite"]:
                raise AnsibleActionFail(_refusal(directory, foreign))
            if changed and not self._task.check_mode:
                write_all(directory, changed)
        except OSError as error:
            raise AnsibleActionFail(f"{directory}: nothing was written: {error}") from error
        unrelated = {f"faculties/{path.name}" for path in directory.glob("faculties/*.yml")} - texts.keys()
        draft.remarks += [
            f"{directory / name} is not of this draft, but of the inventory" for name in sorted(unrelated)
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


def _refusal(directory: Path, names: Sequence[str]) -> str:
    listed = "".join(f"\n  {directory / name}" for name in names)
    return (
        f"nothing was written, as these files exist and differ:{listed}\n"
        "Draft into another directory, or set overwrite; with overwrite, --check --diff shows what it would change."
    )


class Reader:
    """The arguments as settings and zones; what is wrong is collected, so that it is told at once."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self.args = args
        self.problems: list[str] = []

    def fail_on_problems(self) -> None:
        """Fail if anything was wrong."""
        if self.problems:
            lines = [f"  {number}. {problem}" for number, problem in enumerate(dict.fromkeys(self.problems), 1)]
            raise AnsibleActionFail("\n".join(["nothing was written:", *lines]))

    def settings(self) -> Settings:
        """Return what the admin says beforehand."""
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
                self.problems.append(f"faculties: {domain}: {group!r} is no name of a group: use letters, digits and _")
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
            self.problems.append(f"{where}: {error}")
            return ""

    def network(self, value: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """Return a network, or none where it is wrong."""
        try:
            return [network(value)]
        except ValueError as error:
            self.problems.append(f"networks: {error}. Write it in CIDR form, as 198.18.0.0/16")
            return []

    def address(self, server: Mapping[str, Any], needed: bool) -> str:
        """Return a server's address; a transfer needs one, since its name may not be found yet."""
        value = server["address"]
        if value is None:
            if needed:
                self.problems.append(f"servers: {server['host']}: give its address, or files for all of its zones")
            return ""
        try:
            return str(ipaddress.ip_address(value)) if needed else ipv4(value)
        except ValueError:
            try:
                ipaddress.ip_address(value)
            except ValueError:
                self.problems.append(f"servers: {server['host']}: address: '{value}' is no address")
            return ""

    def zones(self) -> list[ZoneData]:
        """Read every zone of every server."""
        return [zone for server in self.args["servers"] for zone in self.server(server)]

    def server(self, server: Mapping[str, Any]) -> list[ZoneData]:
        """Read one server's zones, from files where they are given, else by transfer."""
        host = server["host"]
        unknown = server["files"].keys() - set(server["zones"])
        self.problems += [f"servers: {host}: files: '{zone}' is not among its zones" for zone in sorted(unknown)]
        try:
            key = self.key(server)
        except dns_zone.ReadError as error:
            self.problems.append(f"servers: {host}: {server['key_file']}: {error}")
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
                self.problems.append(f"servers: {host}: zone {value}: {error}")
        return found

    def key(self, server: Mapping[str, Any]) -> dns_zone.Key | None:
        """Return the server's key, from the variable or from a file as tsig-keygen writes it."""
        if server["key"]:
            return dns_zone.Key(**server["key"])
        if not server["key_file"]:
            return None
        try:
            return dns_zone.read_key(Path(server["key_file"]).read_text(encoding="utf-8"))
        except (OSError, UnicodeError) as error:
            raise dns_zone.ReadError(str(error)) from None


def summary(draft: Draft, zones: Sequence[ZoneData], directory: Path, changed: Mapping[str, str]) -> str:
    """Return what was found and what is left to do, for people."""
    servers = [host for hosts in draft.faculties.values() for host in hosts]
    domains = sum(len(host.domains) for host in servers)
    found = f"{domains} mail domains on {len(servers)} servers in {len(draft.faculties)} faculties"
    lines = [
        f"{len(zones)} zones read: {found}.",
        f"{len(changed)} files of the draft in {directory} are new or changed.",
    ]
    if draft.questions:
        lines += [f"To settle, each marked TODO in its file ({len(draft.questions)}):"]
        lines += [f"  {question}" for question in draft.questions]
    if draft.remarks:
        lines += ["To know:", *(f"  {remark}" for remark in draft.remarks)]
    lines.append(
        "Not in DNS, to fill in: border routers (marked TODO too), hubs, permits. Then run playbooks/plan.yml."
    )
    return "\n".join(lines)
