#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module bind_mx_check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bind_mx_check
short_description: Find MX records of gateways that have no route for the name
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Reads all primary zones of a BIND server, in all views, with their journals, and changes no zone.
  - Returns each name whose MX records name one of O(exchanges) although it is not in O(planned). Such a domain has left
    the plan, but external senders still connect to the gateways.
  - With O(former_file) it also returns the names that no longer have such records, as long as caches or secondary
    servers may have them, which is for the TTL and the refresh interval of the zone. A record that is missing counts
    from the call that finds it missing, so call the module at the end of each change too.
requirements:
  - C(named-checkconf) and C(named-checkzone) (package C(bind9-utils))
options:
  exchanges:
    description: The full host names of the gateways in MX records, with or without the final dot.
    type: list
    elements: str
    required: true
  planned:
    description:
      - The domains for which the gateways have a route. V(*.suffix) covers all names below the suffix.
    type: list
    elements: str
    required: true
  external:
    description:
      - The domains that a provider hosts, which no wildcard in O(planned) covers. V(*.suffix) covers all names below
        the suffix.
    type: list
    elements: str
    default: []
  former_file:
    description:
      - File on the server in which the module stores the MX records of the gateways, and when they left. It is changed
        only if these change. In check mode it is only read.
    type: path
  zones:
    description: Zones that must be readable. Any other zone that cannot be read is a warning.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - campus.mailgate.inputs.named_conf
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
seealso:
  - module: campus.mailgate.bind_mx
"""

EXAMPLES = r"""
- name: Find domains that have left the plan
  campus.mailgate.bind_mx_check:
    exchanges: [gw1.univ.example, gw2.univ.example]
    planned: [eng.univ.example, "*.lab.eng.univ.example"]
    former_file: /var/lib/mailgate-former-mx.json
  register: checked
  failed_when: checked.text | length > 0
"""

RETURN = r"""
unplanned:
  description: The names without a route whose MX records are in a zone, sorted by zone, view and name.
  returned: success
  type: list
  elements: dict
  contains: &name
    zone: {description: The zone's name., type: str, returned: always}
    view: {description: Its view., type: str, returned: always}
    owner: {description: The name., type: str, returned: always}
    exchanges: {description: The gateways in its MX records., type: list, elements: str, returned: always}
    until:
      description: The time from which no cache has records that left the zone; empty for records in the zone.
      type: str
      returned: always
    routed: {description: Whether the gateways have a route for the name., type: bool, returned: always}
    text: {description: The same as a line of text., type: str, returned: always}
  sample:
    - zone: eng.univ.example
      view: ""
      owner: mech.eng.univ.example
      exchanges: [gw1.univ.example, gw2.univ.example]
      until: ""
      routed: false
      text: "mech.eng.univ.example in zone eng.univ.example: MX gw1.univ.example, gw2.univ.example"
cached:
  description: The names, with or without a route, whose MX records left a zone and that caches may still have.
  returned: success
  type: list
  elements: dict
  contains: *name
  sample: []
text:
  description: All names without a route in these two lists as lines of text.
  returned: success
  type: list
  elements: str
  sample: ["mech.eng.univ.example in zone eng.univ.example: MX gw1.univ.example, gw2.univ.example"]
problems:
  description: The zones that cannot be read.
  returned: failure
  type: list
  elements: str
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._bind.command_module import runner
from ..module_utils._bind.former import Former, Key, as_text, read
from ..module_utils._bind.server import Bind
from ..module_utils._bind.unplanned import Routes, as_dict, find_unplanned
from ..module_utils._replace import make_directory, replace_all
from ..module_utils._results import text_only
from ..module_utils._zone.file import ZoneError

ARGUMENTS = {
    "exchanges": {"type": "list", "elements": "str", "required": True},
    "planned": {"type": "list", "elements": "str", "required": True},
    "external": {"type": "list", "elements": "str", "default": []},
    "former_file": {"type": "path"},
    "zones": {"type": "list", "elements": "str", "default": []},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
}


def earlier(path: Path | None) -> tuple[dict[Key, Former], bytes | None]:
    """Return what an earlier call stored, and the content of the file; raise ValueError for any other file."""
    if path is None or not path.exists():
        return {}, None
    data = path.read_bytes()
    try:
        return read(data.decode()), data
    except ValueError as error:
        raise ValueError(f"{path} is not a file of this module: {error}. Move it away") from error


def store(path: Path, before: bytes | None, known: dict[Key, Former], *, check_only: bool) -> bool:
    """Write the file if its content differs, but no empty one; return whether it does."""
    after = as_text(known).encode()
    if after == before or (before is None and not known):
        return False
    if not check_only:
        make_directory(path.parent)
        replace_all({path.resolve(): before}, {path.resolve(): after})
    return True


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    path = Path(given["former_file"]) if given["former_file"] else None
    routes = Routes.of(given["planned"], given["external"])
    try:
        known, before = earlier(path)
        bind = Bind(runner(module), given["named_conf"])
        found = find_unplanned(bind, given["exchanges"], routes, given["zones"], earlier=known, now=int(time.time()))
        changed = store(path, before, found.former, check_only=module.check_mode) if path else False
    except ZoneError as error:
        module.fail_json(msg="MX records not checked: " + "\n".join(error.problems), problems=error.problems)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"MX records not checked: {error}", problems=[str(error)])
    for warning in found.warnings:
        module.warn(warning)
    without_route = [*found.unplanned, *(each for each in found.cached if not routes.cover(each.owner))]
    module.exit_json(
        changed=changed,
        unplanned=[as_dict(each, routes) for each in found.unplanned],
        cached=[as_dict(each, routes) for each in found.cached],
        text=list(map(str, without_route)),
    )


if __name__ == "__main__":
    main()
