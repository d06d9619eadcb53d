#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module bind_mx."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bind_mx
short_description: Set MX lines in the zone files of a BIND server
version_added: 0.1.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Makes the MX records of the listed names exactly the listed ones, in all zones of a server in one call.
  - Everything else in a zone file stays byte for byte, comments and spacing included. Only the serial moves, once for
    each changed zone, in the form it has (C(YYYYMMDDnn) or a counter), and never backwards (RFC 1982).
  - An edit is proved before it is written. dnspython reads the old and the new zone and must find nothing but the
    planned change, and C(named-checkzone) must accept the new file. All zones are written or none.
  - Names that are not listed keep their MX records.
requirements:
  - dnspython (package C(python3-dnspython)), but for check mode
  - C(named-checkconf) and C(named-checkzone) (package C(bind9-utils)), C(rndc) (package C(bind9))
options:
  zones:
    description: The zones to edit, each with the names whose MX records are managed.
    type: list
    elements: dict
    required: true
    suboptions:
      zone:
        description: The zone's name.
        type: str
        required: true
      owners:
        description: The names in this zone whose MX records are managed.
        type: list
        elements: dict
        required: true
        suboptions:
          owner:
            description: The name, in full, with or without the final dot. V(*) may be its first label.
            type: str
            required: true
          mx:
            description: All MX records of the name. An empty list removes them.
            type: list
            elements: dict
            required: true
            suboptions:
              preference:
                description: The preference, from 0 to 65535. The lowest is tried first.
                type: int
                required: true
              exchange:
                description: The mail server's host name, in full, with or without the final dot.
                type: str
                required: true
  named_conf:
    description: The server's configuration, from which the files of the zones are found.
    type: path
    default: /etc/bind/named.conf
  ttl:
    description:
      - The TTL in seconds of the MX records of the listed names.
      - Without it they keep what they have, and new ones take the TTL of their neighbours.
    type: int
  reload:
    description:
      - Reload each changed zone and wait until the server serves it. When it does not, all files are put back as they
        were, and the module fails.
      - A zone whose file has a later serial than the server, as an interrupted run leaves it, is reloaded too.
    type: bool
    default: true
  reload_timeout:
    description: How many seconds the server may take to load all changed zones.
    type: int
    default: 30
  backup:
    description: Keep a copy of each changed file beside it, with the date in its name.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode, and says what it would change.
    support: full
  diff_mode:
    description: Shows the difference of each zone file.
    support: full
notes:
  - Refused, with nothing written, are zones that this server does not have as primary, that take dynamic updates, have
    a journal, are signed by BIND or by hand, are in several views, or share their file with another zone; and MX
    records that come from a C($INCLUDE)d file or C($GENERATE).
  - Zone files are read as bytes, with their own line ends.
"""

EXAMPLES = r"""
- name: Send the mail of two domains through the gateways
  campus.mailgate.bind_mx:
    zones:
      - zone: eng.univ.example
        owners:
          - owner: mech.eng.univ.example
            mx:
              - {preference: 0, exchange: gw1.univ.example}
              - {preference: 10, exchange: gw2.univ.example}
              - {preference: 20, exchange: mech.eng.univ.example}
          - owner: "*.lab.mech.eng.univ.example"
            mx:
              - {preference: 0, exchange: gw1.univ.example}
              - {preference: 10, exchange: gw2.univ.example}
"""

RETURN = r"""
zones:
  description: What happened to each zone, or would in check mode, in the given order.
  returned: success
  type: list
  elements: dict
  contains:
    zone: {description: The zone's name., type: str, returned: always}
    file: {description: Its file., type: str, returned: always}
    serial_before: {description: The serial in the file before., type: int, returned: always}
    serial_after: {description: The serial in the file now., type: int, returned: always}
    changed: {description: Whether the file was changed., type: bool, returned: always}
    reloaded: {description: Whether the server was told to reload the zone., type: bool, returned: always}
    backup_file: {description: The copy of the old file., type: str, returned: with O(backup=true) and a change}
problems:
  description: Everything that keeps the module from doing its work, one sentence each.
  returned: failure
  type: list
  elements: str
"""

from datetime import date
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils._bind import Bind
from ..module_utils._bind_mx import Outcome, Request, update
from ..module_utils._zonecheck import DNSPYTHON_ERROR
from ..module_utils._zonefile import ZoneError

MX = {"preference": {"type": "int", "required": True}, "exchange": {"type": "str", "required": True}}
OWNER = {
    "owner": {"type": "str", "required": True},
    "mx": {"type": "list", "elements": "dict", "required": True, "options": MX},
}
ZONE = {
    "zone": {"type": "str", "required": True},
    "owners": {"type": "list", "elements": "dict", "required": True, "options": OWNER},
}
ARGUMENTS = {
    "zones": {"type": "list", "elements": "dict", "required": True, "options": ZONE},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "ttl": {"type": "int"},
    "reload": {"type": "bool", "default": True},
    "reload_timeout": {"type": "int", "default": 30},
    "backup": {"type": "bool", "default": False},
}


def request(module: AnsibleModule) -> Request:
    """Reads the module's parameters."""
    zones = [
        (
            zone["zone"],
            [
                (owner["owner"], [(line["preference"], line["exchange"]) for line in owner["mx"]])
                for owner in zone["owners"]
            ],
        )
        for zone in module.params["zones"]
    ]
    rest = {key: module.params[key] for key in ("ttl", "reload", "reload_timeout")}
    return Request(zones, check_only=module.check_mode, today=date.today(), **rest)


def told(outcome: Outcome) -> dict[str, Any]:
    """Gives one zone's part of the return value."""
    result = {
        "zone": outcome.zone.name,
        "file": outcome.zone.file,
        "serial_before": outcome.edit.serial_before,
        "serial_after": outcome.edit.serial_after,
        "changed": outcome.edit.changed,
        "reloaded": outcome.reload,
    }
    return {**result, "backup_file": outcome.backup} if outcome.backup else result


def difference(outcome: Outcome) -> dict[str, str]:
    """Gives one zone's part of the diff."""
    return {
        "before": outcome.before.decode("utf-8", "replace"),
        "after": outcome.edit.data.decode("utf-8", "replace"),
        "before_header": f"{outcome.zone.file} (serial {outcome.edit.serial_before})",
        "after_header": f"{outcome.zone.file} (serial {outcome.edit.serial_after})",
    }


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if DNSPYTHON_ERROR and module.check_mode:
        module.warn("dnspython is not installed yet, so the planned edit has not been proved")
    elif DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=DNSPYTHON_ERROR, problems=[])

    def run(command: Any, data: bytes | None) -> tuple[int, str, str]:
        result: tuple[int, str, str] = module.run_command(list(command), data=data, binary_data=True)
        return result

    try:
        bind = Bind(run, module.params["named_conf"])
        outcomes = update(bind, request(module), module.backup_local if module.params["backup"] else None)
    except ZoneError as error:
        module.fail_json(msg="MX lines not changed: " + "\n".join(error.problems), problems=error.problems)
    changed = [outcome for outcome in outcomes if outcome.edit.changed]
    module.exit_json(
        changed=any(outcome.edit.changed or outcome.reload for outcome in outcomes),
        zones=[told(outcome) for outcome in outcomes],
        diff=[difference(outcome) for outcome in changed],
    )


if __name__ == "__main__":
    main()
