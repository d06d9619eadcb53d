#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module bind_mx_outside."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bind_mx_outside
short_description: Generate the external zones of a split DNS
version_added: 0.1.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Generates an external zone from each internal zone. It has all records of the internal zone, with other MX records
    for the listed names. The internal zone is not changed.
  - The external zone must be configured in C(named.conf), in the external view or on a server of its own. Its file need
    not exist yet. A file that this module did not generate is never replaced.
  - Nothing is written without a change in the internal zone or in the list. The serial follows that of the internal
    zone and never decreases (RFC 1982).
  - dnspython must find no other difference from the internal zone, and C(named-checkzone) must accept the external one.
    All files are written or none. BIND loads them; if it rejects one, all are restored.
requirements:
  - dnspython (package C(python3-dnspython))
  - C(named-checkconf) and C(named-checkzone) (package C(bind9-utils)), C(rndc) (package C(bind9))
options:
  zones:
    description: The zones, each with the names whose MX records differ in the external zone.
    type: list
    elements: dict
    suboptions:
      zone:
        description: The zone's name.
        type: str
        required: true
      owners:
        description: The names whose MX records differ. Other names have the same records in both zones.
        type: list
        elements: dict
        required: true
        suboptions:
          owner:
            description: The full name. V(*) may be its first label.
            type: str
            required: true
          mx:
            description: All MX records in the external zone. A null MX in the internal zone (RFC 7505) is kept.
            type: list
            elements: dict
            required: true
            suboptions:
              preference:
                description: The preference, from 0 to 65535. Senders try the lowest first.
                type: int
                required: true
              exchange:
                description: The full host name of the mail server.
                type: str
                required: true
  state:
    description:
      - V(absent) removes the generated files. A zone that O(named_conf) still has in the external view stays, as
        external clients would lose it; it gets the MX records of the internal zone. RV(left) names it. All other
        options but O(settings_file) and O(remove_served) are then read from O(settings_file).
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.3.0
  settings_file:
    description: The settings of the timer that runs this module's program, as JSON.
    type: path
    default: /etc/mailgate/outside.json
    version_added: 0.3.0
  remove_served:
    description: With O(state=absent), remove files although the server's configuration names them.
    type: bool
    default: false
    version_added: 0.3.0
  outside_view:
    description: The view for external clients. Required if several views have these zones.
    type: str
    default: ""
  inside_view:
    description: The view for internal clients. Its zones are read from file and journal.
    type: str
    default: ""
  inside_server:
    description: The address of another server from which the internal zones are transferred, in place of a view.
    type: str
    default: ""
  inside_port:
    description: The port of this other server.
    type: int
    default: 53
  key_file:
    description: A file on this server with the TSIG key for transfers, as BIND's C(tsig-keygen) writes it.
    type: path
  named_conf:
    description: This server's configuration.
    type: path
    default: /etc/bind/named.conf
  reload:
    description: Load each changed external zone and wait until it is served. If one is not, restore all.
    type: bool
    default: true
  reload_timeout:
    description: Seconds that the server may take to load all of them.
    type: int
    default: 30
extends_documentation_fragment:
  - campus.mailgate.attributes
notes:
  - DNSSEC records are not included. To sign the external zone, configure C(inline-signing) for it in BIND.
  - If BIND has not loaded the internal zone's new file yet, the external zone stays unchanged until it has.
"""

EXAMPLES = r"""
- name: Publish only the gateways to external clients
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
  description: The result for each zone, or the prediction in check mode, in the given order.
  returned: success
  type: list
  elements: dict
  contains:
    zone: {description: The zone's name., type: str, returned: always}
    file: {description: The file of the external zone., type: str, returned: always}
    serial_before: {description: The external serial before the change; 0 for none., type: int, returned: always}
    serial_after: {description: The external serial after the change., type: int, returned: always}
    inside_serial: {description: The serial of the internal zone., type: int, returned: always}
    changed: {description: Whether the external zone was changed., type: bool, returned: always}
    reloaded: {description: Whether the external zone was loaded., type: bool, returned: always}
    waiting: {description: Whether the internal zone is not loaded yet., type: bool, returned: always}
left:
  description: With O(state=absent), what stays, each with the reason.
  returned: success
  type: list
  elements: str
  sample: []
problems:
  description: All problems that prevented the change.
  returned: failure
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils._bind.client import DNSPYTHON_ERROR
from ..module_utils._bind.command_module import runner, zones_argument
from ..module_utils._bind.external import ExternalZone, refresh, request_from
from ..module_utils._bind.external_removal import record, remove
from ..module_utils._bind.server import Bind
from ..module_utils._keep.store import STORE
from ..module_utils._results import text_only
from ..module_utils._zone.file import ZoneError

ARGUMENTS = {
    "zones": {**zones_argument({}, {}, mx_required=True), "required": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "settings_file": {"type": "path", "default": "/etc/mailgate/outside.json"},
    "remove_served": {"type": "bool", "default": False},
    "outside_view": {"type": "str", "default": ""},
    "inside_view": {"type": "str", "default": ""},
    "inside_server": {"type": "str", "default": ""},
    "inside_port": {"type": "int", "default": 53},
    "key_file": {"type": "path", "no_log": False},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "reload": {"type": "bool", "default": True},
    "reload_timeout": {"type": "int", "default": 30},
}


def result_of(zone: ExternalZone) -> dict[str, Any]:
    """Return one zone's part of the return value."""
    return {
        "zone": zone.zone.name,
        "file": str(zone.path),
        "serial_before": zone.serial_before,
        "serial_after": zone.serial_after,
        "inside_serial": zone.internal_serial,
        "changed": zone.changed,
        "reloaded": zone.needs_reload,
        "waiting": zone.waiting,
    }


def take_back(module: AnsibleModule) -> None:
    """Remove what can be removed, and end the module."""
    settings, force = Path(module.params["settings_file"]), module.params["remove_served"]
    try:
        bind = Bind(runner(module), module.params["named_conf"])
        result = remove(bind, settings, STORE, force=force, check_only=module.check_mode)
    except ZoneError as error:
        module.fail_json(msg="external zones not removed: " + "\n".join(error.problems), problems=error.problems)
    module.exit_json(changed=result.changed, zones=[result_of(zone) for zone in result.zones], left=result.left)


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec=ARGUMENTS, required_if=[("state", "present", ("zones",))], supports_check_mode=True
    )
    if module.params["state"] == "absent":
        take_back(module)
    if DNSPYTHON_ERROR and module.check_mode:
        module.exit_json(
            changed=True, zones=[], msg="cannot predict the external zones in check mode: dnspython is not installed"
        )
    elif DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=DNSPYTHON_ERROR, problems=[])

    try:
        bind = Bind(runner(module), module.params["named_conf"])
        wanted = request_from(module.params, check_only=module.check_mode)
        zones = refresh(bind, wanted, lambda paths: record(paths, STORE))
    except ZoneError as error:
        module.fail_json(msg="external zones not generated: " + "\n".join(error.problems), problems=error.problems)
    for zone in zones:
        if zone.waiting:
            module.warn(f"{zone.zone.name}: BIND does not serve internal serial {zone.internal_serial} yet")
    module.exit_json(
        changed=any(zone.changed or zone.needs_reload for zone in zones),
        zones=[result_of(zone) for zone in zones],
        left=[],
        diff=[
            {
                "before": (zone.present or b"").decode("ascii", "replace"),
                "after": zone.planned.decode("ascii", "replace"),
                "before_header": f"{zone.path} (serial {zone.serial_before})",
                "after_header": f"{zone.path} (serial {zone.serial_after})",
            }
            for zone in zones
            if zone.changed
        ],
    )


if __name__ == "__main__":
    main()
