#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module sendmail_routes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sendmail_routes
short_description: Write or remove the routes of a sendmail host
version_added: 0.1.0
description:
  - On a host whose sendmail was installed for this, writes C(static-route), C(mailertable), C(local-host-names),
    C(sendmail.mc), C(submit.mc) and the files built from them in C(/etc/mail), and manages its own lines in C(access)
    and C(sendmail.conf).
  - On a host whose sendmail an admin configured, manages a marked block in the files that C(sendmail.mc) names, and
    nothing else; see O(configuration). Before it writes, C(sendmail -bt) and C(sendmail -bv) must give the same answers
    as before about every address that the host handles, but for the planned domains.
  - Adds the aliases C(postmaster) and C(mailer-daemon) if they are missing.
  - Keeps a copy of each file before its first change in C(/var/backups/mailgate).
  - All files are built in a temporary directory and tested with C(sendmail -bt). Each route must resolve to its next
    hop and each local domain to the local mailer. An external client's mail must be accepted for each relay domain and
    rejected for any other domain. Only then are the files replaced, all or none.
  - Next hops are addresses, so that sendmail never follows MX records for a routed domain.
  - The module does not start, reload or restart the daemon; see RV(action).
author:
  - mailgate contributors (!UNKNOWN)
options:
  state:
    description:
      - V(present) writes the routes.
      - V(absent) restores the files that were there before. Lines that others added since stay. Other options are
        ignored.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.3.0
  configuration:
    description:
      - V(generate) generates all files. V(block) manages a marked block in an admin's files.
      - V(auto) generates them if there is no C(sendmail.mc), if it is that of Debian's package, or if this module wrote
        it. Otherwise it uses blocks.
    type: str
    choices: [auto, generate, block]
    default: auto
    version_added: 0.3.0
  take:
    description:
      - With blocks, domains about which an admin's line that contradicts the plan is taken out of use. It becomes a
        comment.
      - Without this, such a line is an error.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  keep:
    description: Domains that stay as an admin's lines have them. The options' lines about them are left out.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  manage:
    description:
      - With blocks, options of the daemon that are set too, if the admin's C(sendmail.mc) does not set them.
      - Without V(listen), it is an error if the daemon does not listen where O(listen) says.
    type: list
    elements: str
    choices: [hostname, listen, max_daemon_children, double_bounce_address]
    default: []
    version_added: 0.3.0
  hostname:
    description: The fully qualified name in the SMTP greeting. If empty, sendmail determines it.
    type: str
    default: ""
  listen:
    description:
      - Where the daemon listens. The address V(::) accepts IPv4 too, and one socket restarts fastest.
      - Required if O(state=present).
    type: list
    elements: dict
    suboptions:
      address:
        description: The IPv4 or IPv6 address.
        type: str
        required: true
      port:
        description: The TCP port.
        type: int
        default: 25
  local:
    description: The domains whose users are on this host. V(*.suffix) matches every host name below the suffix.
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
          - All addresses of servers that can receive the mail, in order. The first is O(routes[].next_hop). sendmail
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
        version_added: 0.3.0
  external:
    description:
      - Domains that lie in a V(*.suffix) of O(routes), O(local) or O(relay), but are hosted elsewhere. V(*.suffix) is
        allowed.
      - Their mail is sent by their MX records, and they are excepted from the C(To:) line of a V(*.suffix).
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  distance:
    description:
      - Makes only one step of a change that several hosts must make together.
      - V(0) adds domains in O(local) and O(relay), and changes no route. A higher value also sets the routes up to this
        O(routes[].distance), and V(99) all of them, removing those that are not listed.
      - Domains that the host accepts now stay. Without this option, everything is set.
      - A host without routes gets all of them with V(1). Their step in RV(pending) names only servers that relay.
    type: int
    version_added: 0.3.0
  partial:
    description:
      - The options have a part of the plan. Domains and routes of this host that they do not have stay.
    type: bool
    default: false
    version_added: 0.3.0
  queue_interval:
    description: The time between two queue runs, in the format of sendmail.
    type: str
    default: 10m
  max_daemon_children:
    description: The maximum number of simultaneous connections; further ones are rejected.
    type: int
    default: 60
  double_bounce_address:
    description:
      - The recipient of bounces that cannot be delivered. If empty, they are discarded.
      - A name without a domain and without an alias gets the alias C(/dev/null).
    type: str
    default: nobody
  extra:
    description: Lines of m4 for C(sendmail.mc), inserted before the mailers.
    type: list
    elements: str
    default: []
  foreground:
    description:
      - Whether systemd runs the daemon in the foreground, C(sendmail -bD).
      - A daemon in another mode needs a restart; see RV(action).
      - The module writes no unit.
    type: bool
    default: false
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  check_mode:
    details: If sendmail is not installed yet, the differences are shown without building and testing the files.
  diff_mode:
    details: A difference in C(sendmail.cf) or C(submit.cf) is shown only if its source is unchanged.
  platform:
    description: The supported operating systems.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Configure a server for one domain
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
  description: The paths of the changed files.
  type: list
  elements: str
  returned: success
  sample: [/etc/mail/mailertable, /etc/mail/mailertable.db, /etc/mail/static-route]
action:
  description:
    - What the daemon needs to use the files. A changed map needs nothing, as sendmail detects it.
    - It is derived from the daemon's start time, so a run completes what an interrupted one left.
  type: str
  returned: success
  choices: [none, reload, restart]
  sample: reload
installed:
  description: Whether sendmail is completely installed; false only in check mode.
  type: bool
  returned: success
tests:
  description: The number of address tests that the configuration passed.
  type: int
  returned: success
  sample: 12
configuration:
  description: The form of the files.
  type: str
  returned: success
  choices: [generate, block]
  sample: block
  version_added: 0.3.0
asked:
  description:
    - The number of questions that the running and the new configuration answered alike; 0 for generated files.
    - At most 2000 of RV(known) are asked, chosen at even distances.
  type: int
  returned: success
  sample: 312
  version_added: 0.3.0
known:
  description: The number of questions about everything that the host handles.
  type: int
  returned: success
  sample: 312
  version_added: 0.3.0
told:
  description: What an admin should know, such as lines taken out of use, and files that others edited.
  type: list
  elements: str
  returned: success
  sample: ["sendmail answers 312 questions about what this host handles as before"]
  version_added: 0.3.0
service:
  description: Whether the service was enabled and active before the first change; empty if that is unknown.
  type: dict
  returned: O(state=absent)
  contains:
    enabled:
      description: Whether it was started at boot.
      type: bool
    active:
      description: Whether it ran.
      type: bool
    native:
      description: Whether its unit is a file, not generated from the init script.
      type: bool
  version_added: 0.3.0
supervised:
  description: Whether the unit has settings of the role, in a drop-in.
  type: bool
  returned: O(state=absent)
  version_added: 0.3.0
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
  version_added: 0.3.0
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._results import text_only
from ..module_utils._routes import options
from ..module_utils._sendmail import host, removal, service
from ..module_utils._sendmail.adopt import MANAGED
from ..module_utils._sendmail.block import Wish
from ..module_utils._sendmail.settings import Listener, Settings

ARGUMENTS = {
    **options.ARGUMENTS,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "configuration": {"type": "str", "choices": ["auto", "generate", "block"], "default": "auto"},
    "take": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "list", "elements": "str", "default": []},
    "manage": {"type": "list", "elements": "str", "choices": list(MANAGED), "default": []},
    "hostname": {"type": "str", "default": ""},
    "listen": {
        "type": "list",
        "elements": "dict",
        "options": {"address": {"type": "str", "required": True}, "port": {"type": "int", "default": 25}},
    },
    "queue_interval": {"type": "str", "default": "10m"},
    "max_daemon_children": {"type": "int", "default": 60},
    "double_bounce_address": {"type": "str", "default": "nobody"},
    "extra": {"type": "list", "elements": "str", "default": []},
    "foreground": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec=ARGUMENTS, required_if=[("state", "present", ["listen"])], supports_check_mode=True
    )
    given = module.params

    def run(command: list[str], stdin: str) -> tuple[int, str, str]:
        status, out, err = module.run_command(command, data=stdin, binary_data=True)
        return status, out, err

    try:
        if given["state"] == "absent":
            outcome = removal.remove(run, check=module.check_mode)
        else:
            outcome = host.apply(
                _settings(given),
                run,
                check=module.check_mode,
                distance=given["distance"],
                wish=_wish(given),
                partial=given["partial"],
            )
    except host.SendmailError as error:
        module.fail_json(msg=str(error))
    result = asdict(outcome)
    if given["state"] == "absent":
        result["service"] = service.recorded()
        result["supervised"] = service.supervised()
    module.exit_json(changed=outcome.changed, **result)


def _settings(given: dict[str, Any]) -> Settings:
    """Return the settings that the options describe."""
    return Settings(
        hostname=given["hostname"],
        listen=tuple(Listener(**entry) for entry in given["listen"]),
        **options.table(given),
        queue_interval=given["queue_interval"],
        max_daemon_children=given["max_daemon_children"],
        double_bounce_address=given["double_bounce_address"],
        extra=tuple(given["extra"]),
        foreground=given["foreground"],
    )


def _wish(given: dict[str, Any]) -> Wish:
    """Return what the options decide about an admin's files."""
    return Wish(given["configuration"], tuple(given["take"]), tuple(given["keep"]), tuple(given["manage"]))


if __name__ == "__main__":
    main()
