#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module bind_mx."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bind_mx
short_description: Set MX records in the zones of a BIND server
version_added: 0.1.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Sets the MX records of the listed names to exactly the listed ones, in all zones of a server in one call.
  - Everything else in a zone file stays byte for byte, including comments and spacing. The serial is increased once for
    each changed zone, in its present form (C(YYYYMMDDnn) or a counter; RFC 1982).
  - Each edit is proved before it is written. dnspython reads the old and the new zone and must find only the planned
    change, and C(named-checkzone) must accept the new file. All zones are written or none.
  - A zone that dnspython cannot read is proved by the output of C(named-checkzone) for the old and the new file.
  - Records in an included file are changed there. A file that several zones have or include is changed if the changes
    planned for all of these zones are the same; names may be relative to each zone.
  - A zone that this server transfers from one of O(authorities) is left alone, as it is changed there. The module
    M(campus.mailgate.bind_mx_transfer) waits until this server has it.
  - Zones that accept dynamic updates are changed by RFC 2136, with the present records as prerequisite, never in their
    file. A zone that BIND signs itself and that accepts no updates is changed in its unsigned file.
  - If a removed record lies between other records of one name that state several TTLs, the first of them is given the
    TTL that BIND serves, which would change otherwise.
  - Names that are not listed keep their MX records. A name with a null MX (RFC 7505) keeps it, with a warning.
  - With O(ttl_state) the module changes TTLs only, before and after a cut-over.
  - What a zone was before the first change is kept in C(/var/backups/mailgate), and O(state=absent) restores it.
requirements:
  - dnspython (package C(python3-dnspython)), except in check mode without dynamic zones
  - C(named-checkconf) and C(named-checkzone) (package C(bind9-utils)), C(rndc) (package C(bind9))
options:
  zones:
    description:
      - The zones to edit, each with the names whose MX records are managed.
      - Required unless O(ttl_state=restore) or O(state=absent), which ignore it.
    type: list
    elements: dict
    suboptions:
      zone:
        description: The zone's name.
        type: str
        required: true
      view:
        description: The view of the zone if several views have it. By default O(view).
        type: str
        default: ""
      owners:
        description: The names in this zone whose MX records are managed.
        type: list
        elements: dict
        required: true
        suboptions:
          owner:
            description: The full name, with or without the final dot. V(*) may be its first label.
            type: str
            required: true
          mx:
            description: All MX records of the name. An empty list removes them. Without this option they stay.
            type: list
            elements: dict
            suboptions:
              preference:
                description: The preference, from 0 to 65535. Senders try the lowest first.
                type: int
                required: true
              exchange:
                description: The full host name of the mail server, with or without the final dot.
                type: str
                required: true
          ttl:
            description: The TTL in seconds of this name's MX records, in place of O(ttl).
            type: int
  state:
    description:
      - V(absent) restores the MX records of all names that this module has changed, and removes the copies that
        O(backup) made. A zone's files become byte for byte what they were, but for the serial, which goes forward.
      - If others have edited a file since, only the MX records are restored. MX records that others have changed since
        stay. RV(left) has both.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.3.0
  owners:
    description:
      - With O(state=absent), the names whose MX records are restored, in place of all. Everything else stays, also what
        is kept of these names.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  run:
    description:
      - With O(state=absent), the run before which the MX records are restored, in place of the first run. What is kept
        stays. MX records that others have changed since stay, and are in RV(left).
    type: str
    default: ''
    version_added: 0.3.0
  view:
    description: The view of zones without O(zones[].view).
    type: str
    default: ""
  views:
    description:
      - Several views in place of O(view). A zone is changed in each of them that has a copy of its own.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  other_views:
    description:
      - Views that may have copies of the zones with other MX records, for example because they serve no client outside.
      - If any further view has a copy of a zone, the module fails and changes nothing.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  ttl:
    description:
      - The TTL in seconds of the MX records of the listed names.
      - Without it present records keep their TTL, and new ones get the TTL of the neighbouring records.
      - With O(ttl_state=lower) the lowered TTL, which is then required.
    type: int
  ttl_state:
    description:
      - Changes TTLs only. O(zones[].owners[].mx) and O(zones[].owners[].ttl) are ignored.
      - V(lower) saves the present TTLs in O(ttl_file) and then sets O(ttl). TTLs that the file has stay, as the present
        ones may be lowered already.
      - V(restore) sets the saved TTLs of all saved zones and removes the file.
      - In check mode the file is neither written nor removed.
    type: str
    choices: [lower, restore]
    version_added: 0.2.0
  ttl_file:
    description: The file on the server in which O(ttl_state) saves TTLs.
    type: path
    default: /var/lib/bind_mx_ttl.json
    version_added: 0.2.0
  check_exchanges:
    description:
      - Reject a change to an MX target that has no address record or is an alias (CNAME).
      - A target in one of O(zones) is looked up there, any other at O(server), then at O(authorities). A warning lists
        targets that could not be verified.
    type: bool
    default: true
  authorities:
    description:
      - The DNS servers of the campus. Targets in their zones are looked up there.
      - A secondary zone must be transferred from one of them that has the zone, if records of it are to change.
      - A null MX on this server is a problem if one of them has other MX records in the same zone.
    type: list
    elements: dict
    default: []
    version_added: 0.3.0
    suboptions:
      host:
        description: The name of the server.
        type: str
      address:
        description: The address of the server.
        type: str
        required: true
      zones:
        description: Its zones.
        type: list
        elements: str
        required: true
      addresses:
        description:
          - All addresses of the server, from which others may transfer zones. By default O(authorities[].address).
        type: list
        elements: str
  zones_elsewhere:
    description:
      - Zones whose MX records are managed on other servers only. The module fails if this server is primary for one of
        them too, because that copy would keep its MX records.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  verify_only:
    description: Find all problems and change no zone. An interrupted earlier run is ended.
    type: bool
    default: false
    version_added: 0.3.0
  server:
    description: The address for queries and updates to this server.
    type: str
    default: 127.0.0.1
  port:
    description: The port for queries and updates.
    type: int
    default: 53
  key_file:
    description:
      - A file on the server with the TSIG keys for zones that accept dynamic updates, in the format of BIND's
        C(tsig-keygen).
      - For C(update-policy local) the module uses BIND's session key.
    type: path
  key:
    description: A TSIG key for zones that accept dynamic updates, in addition to those in O(key_file).
    type: dict
    suboptions:
      name:
        description: The key's name.
        type: str
        required: true
      algorithm:
        description: The algorithm, by its name in BIND.
        type: str
        default: hmac-sha256
      secret:
        description: The secret, in base64.
        type: str
        required: true
  reload:
    description:
      - Reload each changed zone and wait until the server serves it. If it does not, the module restores all files and
        fails.
      - A zone whose file has a later serial than the server, for example after an interrupted run, is reloaded too.
    type: bool
    default: true
  reload_timeout:
    description: Seconds that the server may take to load all changed zones.
    type: int
    default: 30
  backup:
    description: Keep a copy of each changed file in its directory, with a timestamp in its name.
    type: bool
    default: false
extends_documentation_fragment:
  - campus.mailgate.inputs.named_conf
  - campus.mailgate.attributes
notes:
  - The module fails, with nothing changed, for zones that this server neither has as primary nor transfers from one of
    O(authorities), that are signed manually, that have a journal but accept no updates, or that share a file with zones
    for which not the same is planned; for MX records that C($GENERATE) generates; and for names that are delegated or
    that lie in a further zone of this server.
  - Each zone's updates are made completely or not at all. Files are replaced and loaded before the first update is
    sent, and restored when an update fails.
  - Zone files are read as bytes and keep their line ends.
"""

EXAMPLES = r"""
- name: Route the mail of two domains through the gateways
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

- name: Lower the TTLs before a cut-over
  campus.mailgate.bind_mx:
    ttl_state: lower
    ttl: 300
    zones:
      - zone: eng.univ.example
        owners:
          - owner: mech.eng.univ.example
  register: lowered

- name: Report how long to wait
  ansible.builtin.debug:
    msg: "Wait {{ lowered.max_ttl }} seconds."

- name: Restore the TTLs after the cut-over
  campus.mailgate.bind_mx:
    ttl_state: restore
"""

RETURN = r"""
zones:
  description: The result for each zone, or the prediction in check mode, in the given order.
  returned: success
  type: list
  elements: dict
  contains:
    zone: {description: The zone's name., type: str, returned: always}
    view: {description: Its view., type: str, returned: always}
    file: {description: Its file., type: str, returned: always}
    method: {description: How it is changed, choices: [file, update, transfer], type: str, returned: always}
    serial_before: {description: The serial before the change., type: int, returned: always}
    serial_after: {description: The serial after the change., type: int, returned: always}
    changed: {description: Whether a record was changed., type: bool, returned: always}
    reloaded: {description: Whether the zone was reloaded., type: bool, returned: always}
    primary: {description: The host from which the zone is transferred., type: str, returned: for a secondary zone}
    backup_files:
      description: The paths of the backup copies.
      type: list
      elements: str
      returned: with O(backup=true) and a change
    ttls: {description: The TTLs in seconds that the MX records of the listed names had., type: dict, returned: always}
    null_mx:
      description: The listed names that accept no mail (RFC 7505) and were left alone.
      type: list
      elements: str
      returned: always
left:
  description: With O(state=absent), what was not restored, each with the reason.
  returned: success
  type: list
  elements: str
  sample: []
max_ttl:
  description:
    - The longest TTL in seconds that the MX records of the listed names had, V(0) without records.
    - After that time no cache holds the previous records.
  returned: success
  type: int
  sample: 3600
problems:
  description: All problems that prevented the change.
  returned: failure
  type: list
  elements: str
"""

from datetime import date
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils._bind.authority import Authority, ZoneRequest
from ..module_utils._bind.change import PlannedZone
from ..module_utils._bind.client import DNSPYTHON_ERROR, DnsClient, Key, read_keys
from ..module_utils._bind.command_module import runner, zones_argument
from ..module_utils._bind.originals import Originals, RunOriginals
from ..module_utils._bind.restoration import restore as restore_zones
from ..module_utils._bind.server import Bind
from ..module_utils._bind.transaction import Request, Result, update
from ..module_utils._bind.transferred import TransferredZone
from ..module_utils._bind.ttl_note import TtlNote, ttls_by_name
from ..module_utils._keep.runs import is_name
from ..module_utils._keep.store import STORE
from ..module_utils._results import text_only
from ..module_utils._zone.edit import plan_names
from ..module_utils._zone.file import ZoneError, spell

KEY = {
    "name": {"type": "str", "required": True},
    "algorithm": {"type": "str", "default": "hmac-sha256"},
    "secret": {"type": "str", "required": True, "no_log": True},
}
AUTHORITY = {
    "host": {"type": "str"},
    "address": {"type": "str", "required": True},
    "zones": {"type": "list", "elements": "str", "required": True},
    "addresses": {"type": "list", "elements": "str"},
}
ARGUMENTS = {
    "zones": {
        **zones_argument({"ttl": {"type": "int"}}, {"view": {"type": "str", "default": ""}}, mx_required=False),
        "required": False,
    },
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
    "view": {"type": "str", "default": ""},
    "views": {"type": "list", "elements": "str", "default": []},
    "other_views": {"type": "list", "elements": "str", "default": []},
    "ttl": {"type": "int"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "owners": {"type": "list", "elements": "str", "default": []},
    "run": {"type": "str", "default": ""},
    "ttl_state": {"type": "str", "choices": ["lower", "restore"]},
    "ttl_file": {"type": "path", "default": "/var/lib/bind_mx_ttl.json"},
    "check_exchanges": {"type": "bool", "default": True},
    "authorities": {"type": "list", "elements": "dict", "default": [], "options": AUTHORITY},
    "zones_elsewhere": {"type": "list", "elements": "str", "default": []},
    "verify_only": {"type": "bool", "default": False},
    "server": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 53},
    "key_file": {"type": "path", "no_log": False},
    "key": {"type": "dict", "options": KEY, "no_log": False},
    "reload": {"type": "bool", "default": True},
    "reload_timeout": {"type": "int", "default": 30},
    "backup": {"type": "bool", "default": False},
}
ANSWER_SECONDS = 5.0
DNS_PORT = 53


def request(module: AnsibleModule, bind: Bind, note: TtlNote) -> Request:
    """Make a request from the module's parameters; raise ZoneError for a file that cannot be read."""
    absent = module.params["state"] == "absent"
    zones = (
        note.requests()
        if module.params["ttl_state"] == "restore"
        else []
        if absent
        else [
            zone_request(module.params, zone, view)
            for zone in module.params["zones"]
            for view in views_of(bind, module.params, zone)
        ]
    )
    rest = {
        key: module.params[key]
        for key in ("reload", "reload_timeout", "check_exchanges", "zones_elsewhere", "verify_only")
    }
    return Request(
        zones,
        check_only=module.check_mode,
        today=date.today(),
        keys=keys(module),
        other_views=None if module.params["ttl_state"] else module.params["other_views"],
        authorities=[authority(item) for item in module.params["authorities"]],
        **rest,
    )


def authority(item: dict[str, Any]) -> Authority:
    """Make a client from one item of `authorities`."""
    return Authority(
        DnsClient(item["address"], DNS_PORT, ANSWER_SECONDS),
        [plan_names(zone, [])[0] for zone in item["zones"]],
        item["host"] or item["address"],
        item["addresses"] or [item["address"]],
    )


def views_of(bind: Bind, params: dict[str, Any], zone: dict[str, Any]) -> list[str]:
    """Return the views in which one item of `zones` is changed, "" for the only one."""
    if zone["view"] or not params["views"]:
        return [zone["view"] or params["view"]]
    return bind.views_of(zone["zone"], params["views"])


def zone_request(params: dict[str, Any], zone: dict[str, Any], view: str) -> ZoneRequest:
    """Make the request for one item of `zones` in one view."""
    owners = []
    for owner in zone["owners"]:
        records = None if owner["mx"] is None else [(mx["preference"], mx["exchange"]) for mx in owner["mx"]]
        ttl = params["ttl"] if owner["ttl"] is None else owner["ttl"]
        owners.append((owner["owner"], None, params["ttl"]) if params["ttl_state"] else (owner["owner"], records, ttl))
    return ZoneRequest(zone["zone"], view, owners)


def keys(module: AnsibleModule) -> dict[str, Key]:
    """Return the TSIG keys by their names in lower case."""
    found = read_keys(module.params["key_file"]) if module.params["key_file"] else {}
    if module.params["key"]:
        key = Key(**module.params["key"])
        found[key.name.rstrip(".").lower()] = key
    return found


def recorded(module: AnsibleModule, originals: Originals) -> bool:
    """Return whether anything is recorded that can be restored."""
    try:
        return bool(originals.zones())
    except ValueError as error:
        module.fail_json(msg=f"MX records not changed: {error}", problems=[str(error)])


def result_of(zone: PlannedZone) -> dict[str, Any]:
    """Return one zone's part of the return value."""
    result = {
        "zone": zone.zone.name,
        "view": zone.zone.view,
        "file": zone.zone.file,
        "method": zone.method,
        "serial_before": zone.serial_before,
        "serial_after": zone.serial_after,
        "changed": zone.changed,
        "reloaded": zone.needs_reload,
        "ttls": ttls_by_name(zone),
        "null_mx": [spell(owner).rstrip(".") for owner in zone.null_mx],
    }
    if isinstance(zone, TransferredZone):
        result["primary"] = zone.primary
    return {**result, "backup_files": zone.backups} if zone.backups else result


def diff_of(zone: PlannedZone) -> list[dict[str, str]]:
    """Return one zone's part of the diff: each file, or the records of an update, that changes."""
    return [
        {
            "before": before,
            "after": after,
            "before_header": f"{title} (serial {zone.serial_before})",
            "after_header": f"{title} (serial {zone.serial_after})",
        }
        for title, before, after in zone.texts()
    ]


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec=ARGUMENTS,
        required_if=[("ttl_state", "lower", ("zones", "ttl"))],
        supports_check_mode=True,
    )
    absent, run = module.params["state"] == "absent", module.params["run"]
    if run and not (absent and is_name(run)):
        module.fail_json(msg=f"run: {run!r} is not the name of a run, or state is not absent", problems=[])
    originals = RunOriginals(STORE, run) if run else Originals(STORE)
    if not (absent or module.params["ttl_state"] or module.params["zones"] is not None):
        module.fail_json(msg="zones is required", problems=[])
    if absent and not recorded(module, originals):
        module.exit_json(changed=False, zones=[], max_ttl=0, left=[], diff=[])
    if DNSPYTHON_ERROR and module.check_mode:
        module.warn("could not look up MX targets or read dynamic zones in check mode: dnspython is not installed")
    elif DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=DNSPYTHON_ERROR, problems=[])

    note = TtlNote(module.params["ttl_file"])
    lower, restore = (module.params["ttl_state"] == state for state in ("lower", "restore"))
    note_changes = (lower and not note.exists) or restore
    left, removed = [], []
    try:
        client = DnsClient(module.params["server"], module.params["port"], ANSWER_SECONDS)
        bind = Bind(runner(module), module.params["named_conf"], client.served)
        back_up = module.backup_local if module.params["backup"] else None
        wanted = request(module, bind, note)
        if absent:
            restored = restore_zones(bind, client, wanted, originals, module.params["owners"])
            result, left, removed = Result(restored.zones, []), restored.left, restored.removed
        else:
            result = update(bind, client, wanted, back_up, note.save if lower else None, originals=originals)
        if restore and not module.check_mode:
            note.remove()
    except ZoneError as error:
        module.fail_json(msg="MX records not changed: " + "\n".join(error.problems), problems=error.problems)
    zones = [result_of(zone) for zone in result.zones]
    for warning in result.warnings:
        module.warn(warning)
    for zone in zones:
        for owner in zone["null_mx"]:
            module.warn(f"{owner} has a null MX record, so it accepts no mail (RFC 7505); it was left alone")
    module.exit_json(
        changed=not module.params["verify_only"]
        and (note_changes or bool(removed) or any(zone["changed"] or zone["reloaded"] for zone in zones)),
        zones=zones,
        left=left,
        max_ttl=max((ttl for zone in zones for ttl in zone["ttls"].values()), default=0),
        diff=list(
            {item["before_header"]: item for zone in result.zones if zone.changed for item in diff_of(zone)}.values()
        ),
    )


if __name__ == "__main__":
    main()
