# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module package_install."""

from __future__ import annotations

DOCUMENTATION = r"""
module: package_install
short_description: Install Debian packages without removing any, and remove them again
version_added: 0.3.0
description:
  - Installs the missing packages of a list by C(apt-get). If none is missing, it does nothing and needs no network.
  - C(apt-get) is asked first what it would do. If it would remove a package, such as another mail server, the module
    fails before anything is changed. Its message names what would be removed and why.
  - Records in C(/var/backups/mailgate/packages.json) which packages were not installed before, also those that were
    pulled in.
  - O(state=absent) purges recorded packages that no other role and no other package needs. What stays is returned.
author:
  - mailgate contributors (!UNKNOWN)
options:
  names:
    description: The packages. Required with O(state=present). A virtual package is present if any package provides it.
    type: list
    elements: str
    default: []
  by:
    description: The name of the role, under which the packages are recorded.
    type: str
    required: true
  state:
    description: V(absent) removes the packages that O(by) had installed.
    type: str
    choices: [present, absent]
    default: present
  keep:
    description: With O(state=absent), let the packages stay and do not record them any more.
    type: bool
    default: false
  look:
    description:
      - With O(state=absent), change nothing if packages are to be removed, and return them as RV(removed). So that what
        rests on them can be stopped first.
    type: bool
    default: false
    version_added: 0.3.0
  files:
    description:
      - With O(state=present), files that the packages' scripts create or change, and that are left when the packages
        are purged.
      - They are kept before packages are installed. O(state=absent) restores them when all packages are gone, but for
        those that somebody edited since.
    type: list
    elements: path
    default: []
  users:
    description: Like O(files), users that the scripts create, each with the group of the same name, and groups.
    type: list
    elements: str
    default: []
  directories:
    description:
      - Like O(files), directories. Those that did not exist are removed when they are empty.
      - The others get back their mode and owner, unless somebody has changed them since.
    type: list
    elements: path
    default: []
  appended:
    description:
      - Like O(files), files of others at whose end the scripts append lines, such as C(/etc/aliases).
      - O(state=absent) removes these lines when all packages are gone; others that were written since stay.
    type: list
    elements: path
    default: []
  recommends:
    description: Whether recommended packages are installed too.
    type: bool
    default: false
  cache_valid_time:
    description: Seconds after which the package lists are updated, if a package is missing.
    type: int
    default: 3600
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Install the scanner
  campus.mailgate.package_install:
    names: [clamav-daemon, clamdscan]
    by: clamav

- name: Remove it, if it was not there before
  campus.mailgate.package_install:
    by: clamav
    state: absent
"""

RETURN = r"""
installed:
  description: The packages that were installed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [clamav-daemon, clamdscan, libclamav11]
removed:
  description: The packages that were removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: []
left:
  description: The recorded packages and files that stay, each with the reason.
  returned: success
  type: list
  elements: str
  sample: ["package 7zip stays: the role gateway needs it"]
shortened:
  description: The files from which was removed what the packages had appended, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [/etc/aliases]
"""

from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._keep.apt import Apt, AptError, Traces
from ..module_utils._keep.store import STORE
from ..module_utils._results import text_only

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_MODE": "l",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "C",
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "by": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "keep": {"type": "bool", "default": False},
            "look": {"type": "bool", "default": False},
            "files": {"type": "list", "elements": "path", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
            "directories": {"type": "list", "elements": "path", "default": []},
            "appended": {"type": "list", "elements": "path", "default": []},
            "recommends": {"type": "bool", "default": False},
            "cache_valid_time": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    given = module.params

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        """Run a command in English, without questions."""
        result: tuple[int, str, str] = module.run_command(list(command), environ_update=ENVIRONMENT)
        return result

    apt = Apt(run, STORE / "packages.json", check_only=module.check_mode)
    try:
        if given["state"] == "present":
            traces = Traces(*(tuple(given[name]) for name in ("files", "users", "directories", "appended")))
            outcome = apt.present(
                given["names"], given["by"], given["cache_valid_time"], traces, recommends=given["recommends"]
            )
        else:
            outcome = apt.absent(given["by"], keep=given["keep"], look=given["look"])
    except (AptError, OSError) as error:
        module.fail_json(msg=f"Packages: {error}")
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=outcome.changed,
        installed=outcome.installed,
        removed=outcome.removed,
        left=outcome.left,
        shortened=outcome.shortened,
    )


if __name__ == "__main__":
    main()
