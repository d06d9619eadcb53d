#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module host_record."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_record
short_description: Record what a role finds on a host before its first change, and restore it
version_added: 0.3.0
description:
  - With O(state=present), records in C(/var/backups/mailgate) which units, users and directories there are and whether
    units are enabled and active, and keeps copies of O(files). What is recorded already stays as it was recorded first.
  - With O(state=absent), restores all of it, and each file that O(by) wrote by M(campus.mailgate.file_set) too. Files
    are then byte for byte what they were, units are enabled and active as they were, and what did not exist is removed.
  - A file that somebody edited since stays as it is, and is returned in RV(left) with the path of its copy.
  - A name that begins with C(mailgate) is used by this collection only, so it is removed.
author:
  - mailgate contributors (!UNKNOWN)
options:
  by:
    description: The name of the role.
    type: str
    required: true
  state:
    description: V(present) records, V(absent) restores.
    type: str
    choices: [present, absent]
    default: present
  units:
    description: Units of systemd that the role enables, starts, stops or disables.
    type: list
    elements: str
    default: []
  users:
    description: Users that the role creates, each with the group of the same name.
    type: list
    elements: str
    default: []
  directories:
    description: Directories that the role creates. Those that did not exist are removed when they are empty.
    type: list
    elements: path
    default: []
  files:
    description: Files that the role writes by another module, which is called next.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The path.
        type: path
        required: true
      sha256:
        description: The hash of the new content. Without it, the file counts as the role's own with any content.
        type: str
        default: ""
  remove:
    description: With O(state=absent), files and directories of the role's own state to remove.
    type: list
    elements: path
    default: []
  spare:
    description: Directories in O(remove) that stay if they have files.
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - campus.mailgate.attributes
"""

EXAMPLES = r"""
- name: Record the host before the first change
  campus.mailgate.host_record:
    by: gateway
    units: [mailgate.service]
    users: [mailgate]
    directories: [/etc/mailgate]

- name: Restore the host
  campus.mailgate.host_record:
    by: gateway
    state: absent
    remove: [/var/lib/mailgate]
"""

RETURN = r"""
restored:
  description: The files, directories, units and users that were restored or removed, or would be in check mode.
  returned: with O(state=absent)
  type: list
  elements: str
  sample: [mailgate.service, /etc/mailgate/routes]
left:
  description: What stays, each with the reason.
  returned: success
  type: list
  elements: str
  sample: []
"""

from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._keep.host import Host, Restoration
from ..module_utils._keep.kept import KeptError
from ..module_utils._results import text_only

LISTS = ("units", "users", "directories")


def diff_of(result: Restoration) -> list[dict[str, str]]:
    """Return the files that are restored, for a diff."""
    return [
        {
            "before": (before or b"").decode("utf-8", "replace"),
            "after": (after or b"").decode("utf-8", "replace"),
            "before_header": path,
            "after_header": path,
        }
        for path, before, after in result.diff
        if b"\0" not in (before or b"") + (after or b"")
    ]


def main() -> None:
    """Run the module."""
    file = {"path": {"type": "path", "required": True}, "sha256": {"type": "str", "default": ""}}
    module = text_only(AnsibleModule)(
        argument_spec={
            "by": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "units": {"type": "list", "elements": "str", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
            "directories": {"type": "list", "elements": "path", "default": []},
            "files": {"type": "list", "elements": "dict", "default": [], "options": file},
            "remove": {"type": "list", "elements": "path", "default": []},
            "spare": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        """Run a command."""
        result: tuple[int, str, str] = module.run_command(list(command))
        return result

    host = Host(run, given["by"], check_only=module.check_mode)
    try:
        if given["state"] == "present":
            files = {file["path"]: file["sha256"] for file in given["files"]}
            changed = host.record(*(given[name] for name in LISTS), files=files)
            module.exit_json(changed=changed, left=[])
        result = host.restore(given["remove"], given["spare"])
    except (KeptError, OSError) as error:
        module.fail_json(msg=f"{given['by']}: {error}")
    changed_items = list(dict.fromkeys(result.changed))
    module.exit_json(
        changed=bool(changed_items),
        restored=changed_items,
        left=result.left,
        diff=diff_of(result) if module._diff else [],  # Ansible has no public name for it
    )


if __name__ == "__main__":
    main()
