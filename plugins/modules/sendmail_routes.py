#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: all routing files of a sendmail host in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sendmail_routes
short_description: Write all routing files of a sendmail host in one call
version_added: 0.1.0
description:
  - Makes C(static-route), C(mailertable), C(local-host-names), C(sendmail.mc), C(submit.mc) and what is built from them
    in C(/etc/mail), and sets its own lines in C(access) and C(sendmail.conf).
  - Adds the aliases C(postmaster) and C(mailer-daemon) where they are missing.
  - All is built aside and tested with C(sendmail -bt). Each route must lead to its next hop, each local domain to the
    local mailer, each relay domain must be accepted from a stranger, and a foreign domain must be refused.
    Only then are the files replaced, all or none.
  - Next hops are addresses, so that no MX record is ever followed for a domain of the table.
  - It starts, reloads and restarts nothing; see RV(action).
author:
  - mailgate contributors (!UNKNOWN)
options:
  hostname:
    description: The full name this host greets with. When empty, sendmail finds out.
    type: str
    default: ""
  listen:
    description: Where the daemon listens. The address V(::) takes IPv4 as well, and one socket restarts fastest.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description: IPv4 or IPv6 address.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        default: 25
  local:
    description: Domains whose users live on this host. V(*.suffix) takes every host name under the suffix.
    type: list
    elements: str
    default: []
  relay:
    description: Domains for which mail from anybody is passed on. V(*.suffix) is allowed.
    type: list
    elements: str
    default: []
  routes:
    description: The table of routes.
    type: list
    elements: dict
    default: []
    suboptions:
      domain:
        description: A domain, or V(*.suffix) for every host name under the suffix.
        type: str
        required: true
      next_hop:
        description: IPv4 or IPv6 address of the server that gets the mail.
        type: str
        required: true
      next_hops:
        description:
          - All addresses of servers that may get the mail, in order. The first is O(routes[].next_hop), the others are
            tried while those before them do not answer.
          - Needed only where there is more than one.
        type: list
        elements: str
        default: []
      host:
        description: Name of that server, for messages only.
        type: str
        default: ""
  queue_interval:
    description: Time between two runs of the queue, as sendmail writes it.
    type: str
    default: 10m
  max_daemon_children:
    description: Connections served at a time; more are refused until one ends.
    type: int
    default: 60
  double_bounce_address:
    description:
      - Who gets an error message that itself can't be delivered. When empty, it is dropped.
      - A name without a domain and without an alias is given the alias C(/dev/null).
    type: str
    default: nobody
  extra:
    description: Lines of m4 for C(sendmail.mc), put before the mailers.
    type: list
    elements: str
    default: []
  foreground:
    description:
      - Whether systemd is to run the daemon in the foreground, C(sendmail -bD).
      - One that runs otherwise needs a restart.
      - It writes no unit.
    type: bool
    default: false
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  check_mode:
    details: Where sendmail is not installed yet, the differences are shown, but what m4 makes can't be tested.
  diff_mode:
    details: A difference in C(sendmail.cf) or C(submit.cf) is shown only when its source has none.
  platform:
    description: Target OS for which it works.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: A leaf server, home of one domain
  campus.mailgate.sendmail_routes:
    hostname: mech.eng.univ.example
    listen:
      - address: 0.0.0.0
        port: 25
    local:
      - mech.eng.univ.example
      - "*.lab.mech.eng.univ.example"
    routes:
      - domain: sci.univ.example
        next_hop: 198.18.1.25
      - domain: civil.eng.univ.example
        next_hop: 198.18.1.31
        next_hops: [198.18.1.31, 198.18.1.32]
  register: written
  notify:
    - Reload sendmail
    - Restart sendmail
"""

RETURN = r"""
files:
  description: Paths of the files that changed.
  type: list
  elements: str
  returned: success
  sample: [/etc/mail/mailertable, /etc/mail/mailertable.db, /etc/mail/static-route]
action:
  description:
    - What the daemon needs to use the files. A changed map needs nothing, sendmail notices by itself.
    - Known from when the daemon was started, so a play that broke off before its handlers is made good by the next.
  type: str
  returned: success
  choices: [none, reload, restart]
  sample: reload
installed:
  description: Whether sendmail is complete on the host; can be false in check mode only.
  type: bool
  returned: success
tests:
  description: Number of address tests that the configuration passed.
  type: int
  returned: success
  sample: 12
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._sendmail import host
from ..module_utils._sendmail.settings import Listener, Route, Settings


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str", "default": ""},
            "listen": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"address": {"type": "str", "required": True}, "port": {"type": "int", "default": 25}},
            },
            "local": {"type": "list", "elements": "str", "default": []},
            "relay": {"type": "list", "elements": "str", "default": []},
            "routes": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "domain": {"type": "str", "required": True},
                    "next_hop": {"type": "str", "required": True},
                    "host": {"type": "str", "default": ""},
                    "next_hops": {"type": "list", "elements": "str", "default": []},
                },
            },
            "queue_interval": {"type": "str", "default": "10m"},
            "max_daemon_children": {"type": "int", "default": 60},
            "double_bounce_address": {"type": "str", "default": "nobody"},
            "extra": {"type": "list", "elements": "str", "default": []},
            "foreground": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    settings = Settings(
        hostname=given["hostname"],
        listen=tuple(Listener(**entry) for entry in given["listen"]),
        local=tuple(given["local"]),
        relay=tuple(given["relay"]),
        routes=tuple(Route(**{**route, "next_hops": tuple(route["next_hops"])}) for route in given["routes"]),
        queue_interval=given["queue_interval"],
        max_daemon_children=given["max_daemon_children"],
        double_bounce_address=given["double_bounce_address"],
        extra=tuple(given["extra"]),
        foreground=given["foreground"],
    )

    def run(command: list[str], stdin: str) -> tuple[int, str, str]:
        status, out, err = module.run_command(command, data=stdin, binary_data=True)
        return status, out, err

    try:
        outcome = host.apply(settings, run, check=module.check_mode)
    except host.SendmailError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=outcome.changed,
        diff=outcome.diff,
        files=outcome.files,
        action=outcome.action,
        installed=outcome.installed,
        tests=outcome.tests,
    )


if __name__ == "__main__":
    main()
