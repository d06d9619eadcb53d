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
  - Reads all primary zones of a BIND server, in all views, with their journals, and changes nothing.
  - Returns each name whose MX records name one of O(exchanges) although it is not in O(planned). Such a domain has left
    the plan, but external senders still connect to the gateways.
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
  zones:
    description: Zones that must be readable. Any other zone that cannot be read is a warning.
    type: list
    elements: str
    default: []
  named_conf:
    description: The server's configuration, which names the files of the zones.
    type: path
    default: /etc/bind/named.conf
extends_documentation_fragment:
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
  register: checked
  failed_when: checked.unplanned | length > 0
"""

RETURN = r"""
unplanned:
  description: The names without a route, sorted by zone, view and name.
  returned: success
  type: list
  elements: dict
  contains:
    zone: {description: The zone's name., type: str, returned: always}
    view: {description: Its view., type: str, returned: always}
    owner: {description: The name., type: str, returned: always}
    exchanges: {description: The gateways in its MX records., type: list, elements: str, returned: always}
  sample:
    - {zone: eng.univ.example, view: "", owner: mech.eng.univ.example, exchanges: [gw1.univ.example, gw2.univ.example]}
text:
  description: The same as lines of text.
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


from ansible.module_utils.basic import AnsibleModule

from ..module_utils._bind.command_module import runner
from ..module_utils._bind.server import Bind
from ..module_utils._bind.unplanned import as_dict, find_unplanned
from ..module_utils._results import text_only
from ..module_utils._zone.file import ZoneError

ARGUMENTS = {
    "exchanges": {"type": "list", "elements": "str", "required": True},
    "planned": {"type": "list", "elements": "str", "required": True},
    "zones": {"type": "list", "elements": "str", "default": []},
    "named_conf": {"type": "path", "default": "/etc/bind/named.conf"},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    try:
        bind = Bind(runner(module), given["named_conf"])
        unplanned, warnings = find_unplanned(bind, given["exchanges"], given["planned"], given["zones"])
    except ZoneError as error:
        module.fail_json(msg="MX records not checked: " + "\n".join(error.problems), problems=error.problems)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=False, unplanned=[as_dict(each) for each in unplanned], text=list(map(str, unplanned)))


if __name__ == "__main__":
    main()
