#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module role_applied."""

from __future__ import annotations

DOCUMENTATION = r"""
module: role_applied
short_description: Record what a role has applied, and find out whether its tasks are necessary
version_added: 0.3.0
description:
  - With O(state=recorded), the last task of a role, records in C(/var/backups/mailgate/applied) a fingerprint of the
    role's variables and of the collection's files, the hashes, modes and owners of O(paths), the state of O(units), and
    what O(existing), O(loaded), O(greetings) and O(commands) say.
  - With O(state=checked), compares the host with that record. While all is as recorded, the role would change nothing,
    so a playbook can leave out its tasks.
  - M(campus.mailgate.mta_check) does the same for several roles in one task.
author:
  - mailgate contributors (!UNKNOWN)
options:
  role:
    description: The name of the role in this collection.
    type: str
    required: true
  state:
    description: V(recorded) writes the record, V(checked) compares, V(absent) removes the record.
    type: str
    choices: [recorded, checked, absent]
    default: checked
  paths:
    description:
      - Patterns of files and directories that matter, such as C(/etc/mail/*). A new one that matches is a change too.
      - Of a directory only its mode and owner matter.
    type: list
    elements: path
    default: []
  packages:
    description: Packages of Debian whose removal or another version matters. They are added to O(paths).
    type: list
    elements: str
    default: []
  existing:
    description: Patterns of files whose content does not matter. Each must match a file.
    type: list
    elements: path
    default: []
  units:
    description: Units of systemd. Their state after the role is the state that they must have.
    type: list
    elements: str
    default: []
  loaded:
    description:
      - For a unit the files that it must have loaded. Their last change must be before that of the unit's state.
    type: dict
    default: {}
  commands:
    description: Commands that must succeed within 30 seconds, each a list of words. They must not change anything.
    type: list
    elements: list
    default: []
  greetings:
    description: Where a mail server must greet.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The address.
        type: str
        required: true
      port:
        description: The port.
        type: int
        required: true
      pattern:
        description: A regular expression for the line that it sends.
        type: str
        default: ^220
  fingerprint:
    description: The action plugin sets it. Without it, nothing is recorded, and all tasks are necessary.
    type: str
    default: ''
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Computes the fingerprint on the controller.
    support: full
seealso:
  - module: campus.mailgate.mta_check
"""

EXAMPLES = r"""
- name: Record what was applied
  campus.mailgate.role_applied:
    role: clamav
    state: recorded
    paths: [/etc/clamav/*]
    units: [clamav-daemon.service]
  changed_when: false

- name: Find out whether anything is to be done
  campus.mailgate.role_applied:
    role: clamav
  register: applied

- name: Install the scanner
  ansible.builtin.include_role:
    name: campus.mailgate.clamav
  when: applied.reasons | length > 0
"""

RETURN = r"""
reasons:
  description: Why the tasks of the role are necessary. Empty if they would change nothing.
  returned: O(state=checked)
  type: list
  elements: str
  sample: ["/etc/clamav/clamd.conf was changed"]
"""

from collections.abc import Sequence
from dataclasses import fields

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._keep.applied import Watched, package_files
from ..module_utils._keep.applied_record import Recorder
from ..module_utils._results import text_only


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec={
            "role": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["recorded", "checked", "absent"], "default": "checked"},
            "paths": {"type": "list", "elements": "path", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "existing": {"type": "list", "elements": "path", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "loaded": {"type": "dict", "default": {}},
            "commands": {"type": "list", "elements": "list", "default": []},
            "greetings": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "pattern": {"type": "str", "default": "^220"},
                },
            },
            "fingerprint": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        result: tuple[int, str, str] = module.run_command(list(command))
        return result

    applied = Recorder(run, given["role"])
    if given["state"] == "checked":
        module.exit_json(changed=False, reasons=applied.look(given["fingerprint"]))
    changed = False
    try:
        if module.check_mode:
            pass
        elif given["state"] == "absent":
            changed = applied.forget()
        elif given["fingerprint"]:
            given["paths"] += map(package_files, given["packages"])
            watched = Watched.of({each.name: given[each.name] for each in fields(Watched)})
            changed = applied.record(given["fingerprint"], watched)
    except OSError as error:
        module.fail_json(msg=f"the record of what was applied cannot be written: {error}")
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
