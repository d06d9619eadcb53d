#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module postfix_routes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postfix_routes
short_description: Add routes to a Postfix host that keeps its configuration
version_added: 0.3.0
description:
  - Writes tables of its own in C(/etc/postfix) and adds them to C(transport_maps), C(relay_domains), C(mydestination)
    and C(relay_recipient_maps), in marked blocks of C(main.cf). All other bytes of C(main.cf) and all other files stay.
  - Before a file is replaced, Postfix's resolver (C(trivial-rewrite)) is asked with the admin's configuration and with
    the new one. All that the host handles (the names in its lists and tables, aliases, senders, and a foreign domain)
    must have the same answer, except the planned routes. Each route must resolve to its next hop.
  - Lines of the admin that say something else of a planned domain are all reported before anything is written.
  - Next hops are addresses, so that Postfix never follows MX records for a routed domain.
  - The module does not start, reload or restart the service; see RV(action).
author:
  - mailgate contributors (!UNKNOWN)
options:
  local:
    description:
      - The domains whose users are on this host. V(*.suffix) matches every host name below the suffix.
      - Domains that the host delivers already, in any way, are not added.
    type: list
    elements: str
    default: []
  relay:
    description: The domains to which mail of every client is relayed. V(*.suffix) is allowed.
    type: list
    elements: str
    default: []
  routes:
    description: The routing table.
    type: list
    elements: dict
    default: []
    suboptions:
      domain:
        description: A domain, or V(*.suffix) for every host name below the suffix.
        type: str
        required: true
      next_hop:
        description: The IPv4 or IPv6 address of the server that receives the mail.
        type: str
        required: true
      next_hops:
        description:
          - All addresses of servers that can receive the mail, in order. The first is O(routes[].next_hop). Postfix
            tries the others when those before them do not answer.
          - Required only if there is more than one.
        type: list
        elements: str
        default: []
      host:
        description: The name of that server, for messages and RV(pending) only.
        type: str
        default: ""
      distance:
        description: The number of hosts on the way to the final server. It is V(1) if that is the next hop.
        type: int
        default: 1
  external:
    description:
      - Domains that lie in a V(*.suffix) of O(routes), O(local) or O(relay), but are hosted elsewhere. V(*.suffix) is
        allowed.
      - Their mail is sent as before, and they are excepted from a V(*.suffix) in O(local) or O(relay).
    type: list
    elements: str
    default: []
  distance:
    description:
      - Makes only one step of a change that several hosts must make together.
      - V(0) adds domains in O(local) and O(relay), and changes no route. A higher value also sets the routes up to this
        O(routes[].distance), and V(99) all of them, removing those that are not listed.
      - Domains that the host accepts now stay. Without this option, everything is set.
      - A host without routes gets all of them with V(1). Their step in RV(pending) names only servers that relay.
    type: int
  partial:
    description:
      - The options have a part of the plan. Domains and routes of this host that they do not have stay.
    type: bool
    default: false
  keep_route:
    description: Domains of the other options that are left out, as the admin's own lines are to decide about them.
    type: list
    elements: str
    default: []
  take:
    description:
      - Domains of O(routes) for which the routes come before the entries of the admin's transport tables.
      - The entries stay in their files. Lists of domains, such as C(mydestination), cannot be overridden.
    type: list
    elements: str
    default: []
  config_directory:
    description: The configuration directory of the instance.
    type: str
    default: /etc/postfix
  state:
    description:
      - V(absent) makes the files what they were before the module's first change.
      - Of a C(main.cf) that was edited since, only the marked blocks are removed; see RV(notes).
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  check_mode:
    details: If Postfix is not installed yet, only that C(main.cf) will change is predicted.
  platform:
    description: The supported operating systems.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Add the campus's routes to a server with one domain
  campus.mailgate.postfix_routes:
    local:
      - mech.eng.univ.example
      - "*.lab.mech.eng.univ.example"
    routes:
      - domain: sci.univ.example
        next_hop: 198.18.1.25
      - domain: civil.eng.univ.example
        next_hop: 198.18.1.31
        next_hops: [198.18.1.31, 198.18.1.32]
  notify: Reload Postfix
"""

RETURN = r"""
files:
  description: The paths of the changed files.
  type: list
  elements: str
  returned: success
  sample: [/etc/postfix/mailgate-transport, /etc/postfix/main.cf]
action:
  description:
    - What the service needs to use the files.
    - It is V(reload) also when an earlier run was interrupted before the reload, according to the file
      C(/run/mailgate-postfix-reload). Remove that file after the reload.
  type: str
  returned: success
  choices: [none, reload]
  sample: reload
installed:
  description: Whether Postfix is installed; false only in check mode.
  type: bool
  returned: success
tests:
  description: The number of questions to Postfix's resolver.
  type: int
  returned: success
  sample: 48
notes:
  description: What an admin should know, such as files that were edited since and keep these edits.
  type: list
  elements: str
  returned: success
  sample: []
pending:
  description: What still differs from the options afterwards, because of O(distance).
  returned: success
  type: dict
  contains:
    steps:
      description:
        - The routes to change by C(distance), with the names of their next hops in C(hosts). The distance V(99) is that
          of routes to remove.
      type: list
      elements: dict
    removals:
      description: Domains that the host still accepts although they are not listed.
      type: list
      elements: str
  sample:
    steps:
      - {distance: 1, domains: [mech.eng.univ.example], hosts: [new.eng.univ.example]}
    removals: [mech.eng.univ.example]
former:
  description: Addresses that were next hops of routes before, and are in no route of the options.
  returned: success
  type: list
  elements: str
  sample: [198.18.2.25]
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._postfix.host import Host, PostfixError, Wanted
from ..module_utils._postfix.settings import Settings
from ..module_utils._results import text_only
from ..module_utils._routes import options

ARGUMENTS = {
    **options.ARGUMENTS,
    "keep_route": {"type": "list", "elements": "str", "default": []},
    "take": {"type": "list", "elements": "str", "default": []},
    "config_directory": {"type": "str", "default": "/etc/postfix"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params

    def run(command: list[str], stdin: str, variables: Mapping[str, str]) -> tuple[int, str, str]:
        status, out, err = module.run_command(
            command, data=stdin, binary_data=True, environ_update=dict(variables), handle_exceptions=False
        )
        return status, out, err

    host = Host(run, Path(given["config_directory"]))
    try:
        if given["state"] == "absent":
            outcome = host.remove(check=module.check_mode)
        else:
            wanted = Wanted(
                Settings(**options.table(given)),
                given["distance"],
                tuple(given["keep_route"]),
                tuple(given["take"]),
                given["partial"],
            )
            outcome = host.apply(wanted, check=module.check_mode)
    except (PostfixError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=outcome.changed,
        diff=outcome.diff,
        files=outcome.files,
        action=outcome.action,
        installed=outcome.installed,
        tests=outcome.tests,
        notes=outcome.notes,
        pending=asdict(outcome.pending),
        former=outcome.former,
    )


if __name__ == "__main__":
    main()
