#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module dns_probe."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_probe
short_description: Ask all authoritative servers of zones about mail
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Asks every authoritative server of each zone for its serial and for MX records, the servers of the parent zone for
    the delegation, and resolvers for MX records, addresses and names of addresses. Verifies the signatures of signed
    zones. Changes nothing, and returns the same in check mode.
  - Name servers of a zone that O(zones[].servers) does not list are found by its NS records.
requirements:
  - dnspython (package C(python3-dnspython)) on the host that asks
  - cryptography (package C(python3-cryptography)) on it to verify signatures; without it only their dates are compared
options:
  zones:
    description: The zones to ask for.
    type: list
    elements: dict
    default: []
    suboptions:
      zone:
        description: The zone's name.
        type: str
        required: true
      owners:
        description: The names whose MX records are asked. V(*) may be the first label.
        type: list
        elements: str
        default: []
      servers:
        description: The known servers, each name with its addresses.
        type: dict
        required: true
  owners:
    description: The names whose MX records the resolvers are asked for.
    type: list
    elements: str
    default: []
  names:
    description: The host names whose addresses the resolvers are asked for.
    type: list
    elements: str
    default: []
  addresses:
    description: The addresses whose names the resolvers are asked for.
    type: list
    elements: str
    default: []
  resolvers:
    description: The addresses of the resolvers. The default is those of the host, in C(/etc/resolv.conf).
    type: list
    elements: str
  port:
    description: The port of all servers.
    type: int
    default: 53
  timeout:
    description: Seconds to wait for each answer. A query is sent twice.
    type: int
    default: 3
  queries:
    description: The number of queries at once. One server gets at most eight at once.
    type: int
    default: 64
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
seealso:
  - module: campus.mailgate.smtp_probe
  - module: campus.mailgate.mail_verify
"""

EXAMPLES = r"""
- name: Ask the servers of a zone
  campus.mailgate.dns_probe:
    zones:
      - zone: eng.univ.example
        owners: [eng.univ.example, mech.eng.univ.example]
        servers: {ns1.univ.example: [198.18.0.53]}
    names: [gw1.univ.example]
  delegate_to: localhost
  register: answers
"""

RETURN = r"""
zones:
  description:
    - For each zone its C(servers) (with C(host), C(address), C(error), C(authoritative), C(serial), C(ns) and C(mx)),
      C(ns) (the name servers with their addresses), C(delegation) (C(ns) and C(glue) at servers of the parent zone that
      do not have the zone), and C(dnssec) (C(signed), C(delegated), C(expires), C(errors)).
  returned: success
  type: list
  elements: dict
resolvers:
  description: The resolvers that were asked.
  returned: success
  type: list
  elements: str
mx:
  description: For each of O(owners) C(records), C(ttl), C(error) and C(alias).
  returned: success
  type: dict
names:
  description: For each of O(names) C(addresses), C(alias) and C(error).
  returned: success
  type: dict
ptr:
  description: For each of O(addresses) C(names) and C(error).
  returned: success
  type: dict
"""

import asyncio
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils._results import text_only
from ..module_utils._verify.nameservers import DnsProber, Wanted, Zone, resolvers_of
from ..module_utils._verify.queries import DNSPYTHON_ERROR, Queries

ZONE = {
    "zone": {"type": "str", "required": True},
    "owners": {"type": "list", "elements": "str", "default": []},
    "servers": {"type": "dict", "required": True},
}
NAMES = {"type": "list", "elements": "str", "default": []}
ARGUMENTS = {
    "zones": {"type": "list", "elements": "dict", "default": [], "options": ZONE},
    "owners": NAMES,
    "names": NAMES,
    "addresses": NAMES,
    "resolvers": {"type": "list", "elements": "str"},
    "port": {"type": "int", "default": 53},
    "timeout": {"type": "int", "default": 3},
    "queries": {"type": "int", "default": 64},
}


def own_resolvers() -> list[str]:
    """Return the resolvers of this host."""
    try:
        return resolvers_of(Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    if DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=DNSPYTHON_ERROR)
    params = module.params
    if params["queries"] < 1 or params["timeout"] < 1:
        module.fail_json(msg="timeout and queries must be at least 1")
    wanted = Wanted(
        zones=[Zone(each["zone"], each["owners"], each["servers"]) for each in params["zones"]],
        owners=params["owners"],
        names=params["names"],
        addresses=params["addresses"],
        resolvers=own_resolvers() if params["resolvers"] is None else params["resolvers"],
    )

    async def run() -> dict[str, object]:
        return await DnsProber(Queries(params["timeout"], params["port"], params["queries"]), wanted).ask_all()

    try:
        module.exit_json(changed=False, **asyncio.run(run()))
    except ValueError as error:
        module.fail_json(msg=f"not an address: {error}. Correct it in servers, addresses or resolvers")


if __name__ == "__main__":
    main()
