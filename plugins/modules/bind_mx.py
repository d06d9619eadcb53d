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
  - Lines in a file that a zone includes are changed there, unless another zone includes it too.
  - Zones that take dynamic updates are changed by RFC 2136, with what was read before as prerequisite, never in their
    file. A zone that BIND signs itself but that takes no updates is changed in its unsigned file.
  - Names that are not listed keep their MX records. So does a name with a null MX (RFC 7505), and a warning tells it.
requirements:
  - dnspython (package C(python3-dnspython)), but for check mode without dynamic zones
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
      view:
        description: The view whose zone it is, where several have it; else O(view).
        type: str
        default: ""
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
            description: All MX records of the name. An empty list removes them. Without it they stay.
            type: list
            elements: dict
            suboptions:
              preference:
                description: The preference, from 0 to 65535. The lowest is tried first.
                type: int
                required: true
              exchange:
                description: The mail server's host name, in full, with or without the final dot.
                type: str
                required: true
          ttl:
            description: The TTL in seconds of this name's MX records, instead of O(ttl).
            type: int
  named_conf:
    description: The server's configuration, from which the files of the zones are found.
    type: path
    default: /etc/bind/named.conf
  view:
    description: The view of those zones that name none.
    type: str
    default: ""
  ttl:
    description:
      - The TTL in seconds of the MX records of the listed names.
      - Without it they keep what they have, and new ones take the TTL of their neighbours.
    type: int
  check_exchanges:
    description:
      - Refuse a change that leads to an MX target without address record, or to an alias (CNAME).
      - A target in one of O(zones) is looked for there; others are asked for at O(server). A warning names those that
        cannot be looked up.
    type: bool
    default: true
  server:
    description: The address at which this server is asked and sent updates.
    type: str
    default: 127.0.0.1
  port:
    description: The port at that address.
    type: int
    default: 53
  key_file:
    description:
      - A file on the server with the TSIG keys for zones that take dynamic updates, as BIND's C(tsig-keygen) writes it.
      - For C(update-policy local) BIND's own session key is used.
    type: path
  key:
    description: A TSIG key for zones that take dynamic updates, besides those of O(key_file).
    type: dict
    suboptions:
      name:
        description: The key's name.
        type: str
        required: true
      algorithm:
        description: The algorithm, as BIND names it.
        type: str
        default: hmac-sha256
      secret:
        description: The secret, in base64.
        type: str
        required: true
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
extends_documentation_fragment:
  - campus.mailgate.attributes
notes:
  - Refused, with nothing written, are zones that this server does not have as primary, that are signed by hand, have a
    journal but take no updates, or share their file with another zone; MX records that come from C($GENERATE), or
    stand in a file that several zones include.
  - Of one zone's updates all are made or none. Files are replaced and loaded before the first update is sent, and put
    back when one is refused.
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
    view: {description: Its view., type: str, returned: always}
    file: {description: Its file., type: str, returned: always}
    method: {description: V(file) or V(update)., type: str, returned: always}
    serial_before: {description: The serial before., type: int, returned: always}
    serial_after: {description: The serial now., type: int, returned: always}
    changed: {description: Whether a record was changed., type: bool, returned: always}
    reloaded: {description: Whether the server was told to reload the zone., type: bool, returned: always}
    backup_files:
      description: The copies of the old files.
      type: list
      elements: str
      returned: with O(backup=true) and a change
    ttls: {description: The TTLs in seconds that the MX records of the listed names had., type: dict, returned: always}
    null_mx:
      description: The listed names that take no mail (RFC 7505) and were left alone.
      type: list
      elements: str
      returned: always
problems:
  description: Everything that keeps the module from doing its work, one sentence each.
  returned: failure
  type: list
  elements: str
"""

from datetime import date
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils._bind.client import DNSPYTHON_ERROR, DnsClient, Key, read_keys
from ..module_utils._bind.command_module import runner, zones_argument
from ..module_utils._bind.server import Bind
from ..module_utils._bind.transaction import Request, StaticZone, ZoneRequest, update
from ..module_utils._zone.file import ZoneError, spell

KEY = {
    "name": {"type": "str", "required": True},
    "algorithm": {"type": "str", "default": "hmac-sha256"},
    "secret": {"type": "str", "required": True, "no_log": True},
}
ARGUMENTS = {
    "zones": zones_argument({"ttl": {"type": "int"}}, {"view": {"type": "str", "default": ""}}, mx_required=False),
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "view": {"type": "str", "default": ""},
    "ttl": {"type": "int"},
    "check_exchanges": {"type": "bool", "default": True},
    "server": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 53},
    "key_file": {"type": "path", "no_log": False},
    "key": {"type": "dict", "options": KEY, "no_log": False},
    "reload": {"type": "bool", "default": True},
    "reload_timeout": {"type": "int", "default": 30},
    "backup": {"type": "bool", "default": False},
}
ANSWER_SECONDS = 5.0


def request(module: AnsibleModule) -> Request:
    """Reads the module's parameters; raises ZoneError for a key file that can't be read."""
    default = module.params["ttl"]

    def owner(value: dict[str, Any]) -> tuple[str, list[tuple[int, str]] | None, int | None]:
        lines = None if value["mx"] is None else [(line["preference"], line["exchange"]) for line in value["mx"]]
        return value["owner"], lines, default if value["ttl"] is None else value["ttl"]

    zones = [
        ZoneRequest(z["zone"], z["view"] or module.params["view"], [owner(value) for value in z["owners"]])
        for z in module.params["zones"]
    ]
    rest = {key: module.params[key] for key in ("reload", "reload_timeout", "check_exchanges")}
    return Request(zones, check_only=module.check_mode, today=date.today(), keys=keys(module), **rest)


def keys(module: AnsibleModule) -> dict[str, Key]:
    """Gives the TSIG keys by their names in lower case."""
    found = read_keys(module.params["key_file"]) if module.params["key_file"] else {}
    if module.params["key"]:
        key = Key(**module.params["key"])
        found[key.name.rstrip(".").lower()] = key
    return found


def told(zone: Any) -> dict[str, Any]:
    """Gives one zone's part of the return value."""
    static = isinstance(zone, StaticZone)
    result = {
        "zone": zone.zone.name,
        "view": zone.zone.view,
        "file": zone.zone.file,
        "method": "file" if static else "update",
        "serial_before": zone.serial_before,
        "serial_after": zone.serial_after,
        "changed": zone.changed,
        "reloaded": static and zone.reloaded,
        "ttls": {spell(owner).rstrip("."): ttl for owner, ttl in zone.ttls.items()},
        "null_mx": [spell(owner).rstrip(".") for owner in zone.null_mx],
    }
    return {**result, "backup_files": zone.backups} if static and zone.backups else result


def differences(zone: Any) -> list[dict[str, str]]:
    """Gives one zone's part of the diff: each of its files that changes, or the records that an update changes."""
    serials = f"serial {zone.serial_before}", f"serial {zone.serial_after}"
    if isinstance(zone, StaticZone):
        texts = [
            (str(path), old.decode("utf-8", "replace"), zone.after[path].decode("utf-8", "replace"))
            for path, old in zone.before.items()
        ]
    else:
        texts = [(f"{zone.zone.name}, by update", zone.text(after=False), zone.text(after=True))]
    return [
        {
            "before": before,
            "after": after,
            "before_header": f"{name} ({serials[0]})",
            "after_header": f"{name} ({serials[1]})",
        }
        for name, before, after in texts
    ]


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if DNSPYTHON_ERROR and module.check_mode:
        module.warn("dnspython is not installed yet, so the planned edit has not been proved")
    elif DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=DNSPYTHON_ERROR, problems=[])

    try:
        client = DnsClient(module.params["server"], module.params["port"], ANSWER_SECONDS)
        bind = Bind(runner(module), module.params["named_conf"], client.served)
        result = update(bind, client, request(module), module.backup_local if module.params["backup"] else None)
    except ZoneError as error:
        module.fail_json(msg="MX lines not changed: " + "\n".join(error.problems), problems=error.problems)
    zones = [told(zone) for zone in result.zones]
    for warning in result.warnings:
        module.warn(warning)
    for zone in zones:
        for owner in zone["null_mx"]:
            module.warn(f"{owner} has a null MX: it takes no mail (RFC 7505). It was left alone")
    module.exit_json(
        changed=any(zone["changed"] or zone["reloaded"] for zone in zones),
        zones=zones,
        diff=[difference for zone in result.zones if zone.changed for difference in differences(zone)],
    )


if __name__ == "__main__":
    main()
