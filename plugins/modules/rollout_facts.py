#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module rollout_facts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_facts
short_description: Read what a host has of a rollout
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Reads, in one call, what a host of the campus has of the plan. It reads the routes of a mail server, the delivery
    table and the service of a gateway and its answers to C(RCPT), the MX records of a DNS server, and the port-25 rules
    and counters of a border router.
  - Changes no mail server, gateway, zone or rule. On DNS servers and routers it stores what it has observed, because
    only two observations show when records have changed and how long no counter has changed. In check mode it stores
    nothing.
  - M(campus.mailgate.rollout_check) calls it with the options that follow from the plan.
requirements:
  - dnspython (package C(python3-dnspython)) for O(zones)
options:
  mail:
    description: The kind of mail server that the inventory says.
    type: str
    choices: ['', sendmail, postfix]
    default: ''
  functions:
    description: What to read.
    type: list
    elements: str
    choices: [mail, gateway]
    default: []
  smtp:
    description: The mail servers to ask, as in M(campus.mailgate.mail_probe).
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: The name of the server.
        type: str
        required: true
      address:
        description: The address of the server.
        type: str
        required: true
      domains:
        description: The domains that the server must accept. V(*) may be the first label.
        type: list
        elements: str
        required: true
  timeout:
    description: Seconds to wait for each answer of a mail server.
    type: int
    default: 60
  zones:
    description: The zones to query, as in M(campus.mailgate.mail_probe).
    type: list
    elements: dict
    default: []
    suboptions:
      zone:
        description: The zone's name.
        type: str
        required: true
      owners:
        description: The names whose MX records are queried.
        type: list
        elements: dict
        required: true
        suboptions:
          owner:
            description: The full name.
            type: str
            required: true
          allowed:
            description: The sets of MX records, such as V(0 gw1.univ.example), one of which the name must have.
            type: list
            elements: list
            required: true
  exchanges:
    description: The names of the gateways in MX records.
    type: list
    elements: str
    default: []
  other_views:
    description: Views of O(named_conf) that may have other MX records.
    type: list
    elements: str
    default: []
  dns_server:
    description: The address at which the host's own DNS server is queried.
    type: str
    default: 127.0.0.1
  switched_file:
    description: The file in which the times of changed MX records are stored.
    type: path
    default: /var/lib/mailgate-switched-mx.json
  outside_interfaces:
    description: The interfaces to the internet of a border router, whose rules are then read.
    type: list
    elements: str
    default: []
  servers:
    description: The addresses of the inner servers, for O(outside_interfaces).
    type: list
    elements: str
    default: []
  log_prefix:
    description: The prefix of the lines in the kernel log.
    type: str
    default: 'mailgate-25: '
  log_seconds:
    description: How many seconds of the kernel log are read, V(0) for none of it.
    type: int
    default: 3600
  direct_file:
    description: The file in which counters are stored, with the time since which each has not changed.
    type: path
    default: /var/lib/mailgate-border/direct.json
extends_documentation_fragment:
  - campus.mailgate.inputs.named_conf
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
seealso:
  - module: campus.mailgate.rollout_check
"""

EXAMPLES = r"""
- name: Read the routes of a mail server
  campus.mailgate.rollout_facts:
    functions: [mail]
  register: facts
"""

RETURN = r"""
facts:
  description:
    - What was read. C(mail), C(gateway), C(smtp), C(zones) and C(border) are present if they were asked for.
    - C(mail) and C(gateway) have C(written), whether this collection has written the tables, and the tables.
    - C(zones) has C(problem), or the serial, the MX records of each name and the serials of all servers of the zone.
    - C(border) has the fate of a connection to each server, the counters, and the sources in the log.
  returned: success
  type: dict
"""

import socket
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._bind.client import DnsClient
from ..module_utils._bind.command_module import runner
from ..module_utils._bind.originals import Originals
from ..module_utils._bind.server import Bind
from ..module_utils._keep.store import STORE
from ..module_utils._probe.answers import ask_all, ask_domain
from ..module_utils._reach.router import Rules
from ..module_utils._replace import make_directory, replace_all
from ..module_utils._results import text_only
from ..module_utils._rollout import direct, tables
from ..module_utils._rollout.dns import Server
from ..module_utils._rollout.mail_look import mail_look

SMTP = {
    "host": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "domains": {"type": "list", "elements": "str", "required": True},
}
OWNER = {
    "owner": {"type": "str", "required": True},
    "allowed": {"type": "list", "elements": "list", "required": True},
}
ZONE = {
    "zone": {"type": "str", "required": True},
    "owners": {"type": "list", "elements": "dict", "required": True, "options": OWNER},
}
ARGUMENTS = {
    "mail": {"type": "str", "choices": ["", "sendmail", "postfix"], "default": ""},
    "functions": {"type": "list", "elements": "str", "choices": ["mail", "gateway"], "default": []},
    "smtp": {"type": "list", "elements": "dict", "default": [], "options": SMTP},
    "timeout": {"type": "int", "default": 60},
    "zones": {"type": "list", "elements": "dict", "default": [], "options": ZONE},
    "exchanges": {"type": "list", "elements": "str", "default": []},
    "other_views": {"type": "list", "elements": "str", "default": []},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "dns_server": {"type": "str", "default": "127.0.0.1"},
    "switched_file": {"type": "path", "default": "/var/lib/mailgate-switched-mx.json"},
    "outside_interfaces": {"type": "list", "elements": "str", "default": []},
    "servers": {"type": "list", "elements": "str", "default": []},
    "log_prefix": {"type": "str", "default": "mailgate-25: "},
    "log_seconds": {"type": "int", "default": 3600},
    "direct_file": {"type": "path", "default": "/var/lib/mailgate-border/direct.json"},
}
ANSWER_SECONDS = 5.0


def smtp(server: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Return the answers of a mail server; one that answers nothing has fewer of them."""
    answers = ask_all(server["domains"], partial(ask_domain, server["address"], 25, timeout))
    return {
        "host": server["host"],
        "answers": {each.domain: {"outcome": each.outcome.value, "text": each.text} for each in answers},
    }


def border(module: AnsibleModule) -> dict[str, Any]:
    """Return the fate of connections to the servers, the counters and who connects."""
    given, run = module.params, module.run_command
    interfaces = [path.name for path in Path("/sys/class/net").iterdir()]
    rules = Rules(run, module.get_bin_path, interfaces)
    fates: dict[str, set[str]] = {}
    for way in rules.ways(given["outside_interfaces"], given["servers"]):
        fates.setdefault(way.gateway, set()).add(way.verdict.fate)
    texts = [
        run([path, *arguments])[1]
        for program, *arguments in (
            ("iptables-save", "-c", "-t", "filter"),
            ("ip6tables-save", "-c", "-t", "filter"),
            ("nft", "list", "table", "inet", "mailgate"),
        )
        if (path := module.get_bin_path(program))
    ]
    now = direct.counters("\n".join(texts))
    path = Path(given["direct_file"])
    before = path.read_bytes() if path.exists() else None
    known = direct.observe(direct.read(before.decode()) if before else {}, now, int(time.time()))
    after = direct.as_text(known).encode()
    if not module.check_mode and now and after != before:
        make_directory(path.parent)
        replace_all({path.resolve(): before}, {path.resolve(): after})
    return {
        "fates": {address: found.pop() if len(found) == 1 else "unknown" for address, found in fates.items()},
        "counters": [
            {
                "address": each.address,
                "refuses": each.refuses,
                "packets": each.packets,
                "quiet": known[each.address].at - known[each.address].since,
            }
            for each in now
        ],
        "sources": log(module),
    }


def log(module: AnsibleModule) -> list[dict[str, Any]]:
    """Return who connects, from the kernel log, nothing if it cannot be read."""
    program = module.get_bin_path("journalctl")
    if not program or not module.params["log_seconds"]:
        return []
    since = f"--since=-{module.params['log_seconds']}s"
    status, out, _error = module.run_command([program, "-k", since, "-o", "short-unix", "--no-pager", "-q"])
    return [] if status else direct.sources(out.splitlines(), module.params["log_prefix"])


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    facts: dict[str, Any] = {"time": int(time.time()), "host": socket.gethostname()}

    def run(command: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
        result: tuple[int, str, str] = module.run_command(list(command), data=stdin, binary_data=True)
        return result

    if "mail" in given["functions"]:
        facts["mail"] = mail_look(run, given["mail"], "gateway" in given["functions"])
    if "gateway" in given["functions"]:
        facts["gateway"] = tables.gateway(module.run_command)
    if given["smtp"]:
        facts["smtp"] = [smtp(server, given["timeout"]) for server in given["smtp"]]
    if given["zones"]:
        client = DnsClient(given["dns_server"], 53, ANSWER_SECONDS)
        bind = Bind(runner(module), given["named_conf"])
        server = Server(
            bind, client, given["exchanges"], given["other_views"], Originals(STORE), Path(given["switched_file"])
        )
        facts["zones"] = server.look(given["zones"], check_only=module.check_mode)
    if given["outside_interfaces"]:
        facts["border"] = border(module)
    module.exit_json(changed=False, facts=facts)


if __name__ == "__main__":
    main()
