#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module smtp_probe."""

from __future__ import annotations

DOCUMENTATION = r"""
module: smtp_probe
short_description: Ask many mail servers what they answer, without sending mail
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Connects to port 25 of many addresses at once, and returns for each whether it is open, its greeting, its
    extensions, the dates and names of its certificate, and its replies to C(RCPT). Never sends C(DATA). Changes
    nothing, and returns the same in check mode.
  - Every question to a server is asked in few sessions, one after the other, so that no limit of a usual server is
    reached. Servers count and log the rejected recipients as relay attempts and unknown users.
  - The host needs only Python 3.11 or later.
options:
  servers:
    description: The servers to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description:
          - The name of the server, which its certificate is compared with. The default is its address.
        type: str
      address:
        description: Its IPv4 or IPv6 address.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        default: 25
      session:
        description: Whether to start a session. Without it, only the connection is tried.
        type: bool
        default: true
      domains:
        description:
          - Domains to ask for, with the recipient C(postmaster). V(*) may be the first label. If there is no reply for
            the first domain, the others are not asked.
        type: list
        elements: str
        default: []
      unknown:
        description:
          - Domains to ask for with the name of a user that does not exist. One of O(servers[].domains) is asked only if
            the server accepts postmaster of it.
        type: list
        elements: str
        default: []
      relay:
        description:
          - A domain that the server accepts mail for. With it, more than 60 forms of relay attempts are tried.
        type: str
        default: ""
  stranger:
    description: The domain of the recipients of relay attempts.
    type: str
    default: example.com
  helo_name:
    description: The name of this host in C(EHLO). The default is its full host name.
    type: str
  connect_timeout:
    description: Seconds to wait for each connection.
    type: int
    default: 5
  timeout:
    description: Seconds to wait for each reply; the server may have to ask another one first.
    type: int
    default: 60
  seconds:
    description: The time limit for everything. Servers that are not done have RV(servers[].unfinished).
    type: int
    default: 300
  connections:
    description: The number of connections at once.
    type: int
    default: 64
  sessions:
    description: The number of sessions at once with one server.
    type: int
    default: 4
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
seealso:
  - module: campus.mailgate.dns_probe
  - module: campus.mailgate.mail_verify
"""

EXAMPLES = r"""
- name: Ask a gateway about two domains, and try to relay
  campus.mailgate.smtp_probe:
    servers:
      - host: gw1.univ.example
        address: 198.18.0.25
        domains: [eng.univ.example, "*.lab.eng.univ.example"]
        unknown: [eng.univ.example]
        relay: eng.univ.example
  register: probed
  failed_when: probed.servers[0].relay.accepted | default([]) | length > 0

- name: Check that no inner server can be reached
  campus.mailgate.smtp_probe:
    servers:
      - {address: 198.18.1.30, session: false}
      - {address: "2001:db8:18:1::30", session: false}
  register: probed
  failed_when: probed.servers | selectattr('state', 'eq', 'open') | length > 0
"""

RETURN = r"""
servers:
  description: The answers, in the order of O(servers).
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The name of the server.
      type: str
    address:
      description: Its address.
      type: str
    port:
      description: Its port.
      type: int
    state:
      description:
        - V(open), V(refused) (the connection was reset), V(silent) (no answer in time), V(no_route) (this host has no
          route, such as without IPv6) or V(unreachable) (another error, such as one that a router reports).
      type: str
    source:
      description: The address of this host that the connection came from; empty if there was none.
      type: str
    error:
      description: Why the connection or the session failed; empty if it did not.
      type: str
    seconds:
      description: The time to the greeting.
      type: float
    greeting:
      description: The greeting with its code.
      type: str
    extensions:
      description: The extensions with their parameters.
      type: dict
    tls:
      description:
        - With STARTTLS, C(error), or C(version), C(not_before) and C(not_after) in seconds since 1970, C(names),
          C(issuer), and C(matches), whether the certificate is for the name of the server. Nothing is said about trust.
      type: dict
    size:
      description: C(declared), the limit, and C(code) and C(text) of the reply to a larger size. Empty without a limit.
      type: dict
    domains:
      description:
        - Each domain with C(code) and C(text) of the reply. C(code) is 0 without one, and C(text) is the error.
      type: list
      elements: dict
    unknown:
      description: The same for a user that does not exist.
      type: list
      elements: dict
    relay:
      description:
        - The number of forms that were C(tried) and of those C(unanswered), and those that were C(accepted), each with
          C(name), C(sender), C(recipient), C(code), C(text), and C(local). A server that accepts any user may accept a
          C(local) form without relaying.
      type: dict
    unfinished:
      description: Whether the time limit ended before everything was asked.
      type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._results import text_only
from ..module_utils._verify.prober import Limits, Prober, Server

SERVER = {
    "host": {"type": "str"},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 25},
    "session": {"type": "bool", "default": True},
    "domains": {"type": "list", "elements": "str", "default": []},
    "unknown": {"type": "list", "elements": "str", "default": []},
    "relay": {"type": "str", "default": ""},
}
ARGUMENTS = {
    "servers": {"type": "list", "elements": "dict", "required": True, "options": SERVER},
    "stranger": {"type": "str", "default": "example.com"},
    "helo_name": {"type": "str"},
    "connect_timeout": {"type": "int", "default": 5},
    "timeout": {"type": "int", "default": 60},
    "seconds": {"type": "int", "default": 300},
    "connections": {"type": "int", "default": 64},
    "sessions": {"type": "int", "default": 4},
}
POSITIVE = ("connect_timeout", "timeout", "seconds", "connections", "sessions")


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    if wrong := [f"{name}: {params[name]}" for name in POSITIVE if params[name] < 1]:
        module.fail_json(msg=f"must be at least 1: {', '.join(wrong)}")
    limits = Limits(
        params["connect_timeout"], params["timeout"], params["seconds"], params["connections"], params["sessions"]
    )
    prober = Prober(limits, params["stranger"], **({"name": params["helo_name"]} if params["helo_name"] else {}))
    servers = [
        Server(
            each["host"] or each["address"],
            each["address"],
            each["port"],
            each["domains"],
            each["unknown"],
            each["relay"],
            each["session"],
        )
        for each in params["servers"]
    ]
    try:
        module.exit_json(changed=False, servers=prober.run(servers))
    except ValueError as error:
        module.fail_json(msg=f"a name or an address is not valid: {error}. Correct it in the servers")


if __name__ == "__main__":
    main()
