#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module bind_mx_outside."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bind_mx_outside
short_description: Make the outside copies of zones for a split DNS
version_added: 0.1.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Writes, for each zone, what outsiders shall see of it. It is the whole inside zone, but the listed names have other
    MX records. The zone itself is not touched.
  - The file is that of the zone in the outside view, or on a server of its own, as C(named.conf) has it. It must be
    configured there; the file need not exist yet. A file that was not made by this module is never replaced.
  - Without a change in the inside zone or in the list nothing is written. The serial follows that of the inside zone
    and never goes backwards.
  - Each copy is proved by dnspython, which must find no other difference from the inside zone, and by
    C(named-checkzone). All are written or none. They are loaded, and taken back when BIND refuses one.
requirements:
  - dnspython (package C(python3-dnspython))
  - C(named-checkconf) and C(named-checkzone) (package C(bind9-utils)), C(rndc) (package C(bind9))
options:
  zones:
    description: The zones, each with the names whose MX records differ outside.
    type: list
    elements: dict
    required: true
    suboptions:
      zone:
        description: The zone's name.
        type: str
        required: true
      owners:
        description: The names whose MX records differ. Others look outside as they do inside.
        type: list
        elements: dict
        required: true
        suboptions:
          owner:
            description: The name, in full. V(*) may be its first label.
            type: str
            required: true
          mx:
            description: All MX records that outsiders see. With a null MX inside (RFC 7505) they see that.
            type: list
            elements: dict
            required: true
            suboptions:
              preference:
                description: The preference, from 0 to 65535. The lowest is tried first.
                type: int
                required: true
              exchange:
                description: The mail server's host name, in full.
                type: str
                required: true
  outside_view:
    description: The view of this server that outsiders see. Needed where several have these zones.
    type: str
    default: ""
  inside_view:
    description: The view of this server whose zones are copied, from file and journal.
    type: str
    default: ""
  inside_server:
    description: The address of another server that the zones are copied from, by zone transfer, instead of a view.
    type: str
    default: ""
  inside_port:
    description: The port of that server.
    type: int
    default: 53
  key_file:
    description: A file on this server with the TSIG key for the transfer, as BIND's C(tsig-keygen) writes it.
    type: path
  named_conf:
    description: This server's configuration.
    type: path
    default: /etc/bind/named.conf
  reload:
    description: Load each changed copy and wait until it is served; take all back when one is not.
    type: bool
    default: true
  reload_timeout:
    description: How many seconds the server may take to load all of them.
    type: int
    default: 30
extends_documentation_fragment:
  - campus.mailgate.attributes
notes:
  - DNSSEC records are not copied. If the outside zone is to be signed, let BIND sign the copy with C(inline-signing).
  - A zone whose file inside is newer than what is served there waits until that has been loaded.
"""

EXAMPLES = r"""
- name: Show outsiders the gateways only
  campus.mailgate.bind_mx_outside:
    inside_view: inside
    outside_view: outside
    zones:
      - zone: eng.univ.example
        owners:
          - owner: mech.eng.univ.example
            mx:
              - {preference: 0, exchange: gw1.univ.example}
              - {preference: 10, exchange: gw2.univ.example}
"""

RETURN = r"""
zones:
  description: What happened to each copy, or would in check mode, in the given order.
  returned: success
  type: list
  elements: dict
  contains:
    zone: {description: The zone's name., type: str, returned: always}
    file: {description: The copy's file., type: str, returned: always}
    serial_before: {description: The copy's serial before; 0 for none., type: int, returned: always}
    serial_after: {description: The copy's serial now., type: int, returned: always}
    inside_serial: {description: The inside zone's serial., type: int, returned: always}
    changed: {description: Whether the copy was changed., type: bool, returned: always}
    reloaded: {description: Whether the server was told to load it., type: bool, returned: always}
    waiting: {description: Whether the inside zone is not loaded yet., type: bool, returned: always}
problems:
  description: Everything that keeps the module from doing its work, one sentence each.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils._bind.client import DNSPYTHON_ERROR
from ..module_utils._bind.command_module import runner, zones_argument
from ..module_utils._bind.external import Copy, refresh, request_from
from ..module_utils._bind.server import Bind
from ..module_utils._zone.file import ZoneError

ARGUMENTS = {
    "zones": zones_argument({}, {}, mx_required=True),
    "outside_view": {"type": "str", "default": ""},
    "inside_view": {"type": "str", "default": ""},
    "inside_server": {"type": "str", "default": ""},
    "inside_port": {"type": "int", "default": 53},
    "key_file": {"type": "path", "no_log": False},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "reload": {"type": "bool", "default": True},
    "reload_timeout": {"type": "int", "default": 30},
}


def told(copy: Copy) -> dict[str, Any]:
    """Gives one copy's part of the return value."""
    names = ("serial_before", "serial_after", "inside_serial", "changed", "reloaded", "waiting")
    return {"zone": copy.zone.name, "file": str(copy.path), **{name: getattr(copy, name) for name in names}}


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if DNSPYTHON_ERROR and module.check_mode:
        module.exit_json(changed=True, zones=[], msg="dnspython is not installed yet, so the copies cannot be foreseen")
    elif DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=DNSPYTHON_ERROR, problems=[])

    try:
        bind = Bind(runner(module), module.params["named_conf"])
        copies = refresh(bind, request_from(module.params, check_only=module.check_mode))
    except ZoneError as error:
        module.fail_json(msg="outside copies not made: " + "\n".join(error.problems), problems=error.problems)
    for copy in copies:
        if copy.waiting:
            module.warn(f"{copy.zone.name}: the inside does not serve its new file (serial {copy.inside_serial}) yet")
    module.exit_json(
        changed=any(copy.changed or copy.reloaded for copy in copies),
        zones=[told(copy) for copy in copies],
        diff=[
            {
                "before": (copy.before or b"").decode("ascii", "replace"),
                "after": copy.after.decode("ascii", "replace"),
                "before_header": f"{copy.path} (serial {copy.serial_before})",
                "after_header": f"{copy.path} (serial {copy.serial_after})",
            }
            for copy in copies
            if copy.changed
        ],
    )


if __name__ == "__main__":
    main()
