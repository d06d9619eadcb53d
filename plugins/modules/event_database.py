# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module event_database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: event_database
short_description: Set up the database of the gateways' events in Debian's PostgreSQL
version_added: 0.3.0
description:
  - Creates the database with its schema and a user for each gateway, lets these in from the gateways' addresses by
    lines of its own in C(pg_hba.conf), and has the server listen with TLS by a file of its own in C(conf.d).
  - Other databases, users and settings of the cluster are not changed. If something stands in the way, as a database of
    the same name or a certificate of the admin's, the module fails before anything is changed.
  - New files are validated by the server itself, and those of before are put back if they are not valid. The server is
    reloaded, and restarted only if it has to listen on another address.
author:
  - mailgate contributors (!UNKNOWN)
options:
  address:
    description: The address on which the gateways find the server.
    type: str
    required: true
  port:
    description: The port of the cluster.
    type: int
    default: 5432
  database:
    description: The name of the database.
    type: str
    default: mailgate
  directory:
    description:
      - Directory with C(ca.pem), C(cert.pem), C(key.pem), a file with the password of each gateway in C(passwords), and
        the program C(schema/migrate) with its files.
    type: path
    required: true
  gateways:
    description: The gateways.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: The name in the inventory, which is the name of the file of its password.
        type: str
        required: true
      user:
        description: The name of its user.
        type: str
        required: true
      addresses:
        description: The addresses from which it connects.
        type: list
        elements: str
        required: true
  memory_high:
    description:
      - Memory above which the kernel reclaims that of the cluster, as a size of systemd. Empty for no limit.
      - It applies only if the role has installed PostgreSQL.
    type: str
    default: ""
  state:
    description:
      - V(present) sets it up, V(checked) only fails if something stands in the way.
      - V(absent) removes the users and the lines, and the database only with O(remove).
    type: str
    choices: [present, checked, absent]
    default: present
  remove:
    description: With O(state=absent), whether the database is removed, with all events.
    type: bool
    default: false
extends_documentation_fragment:
  - campus.mailgate.attributes
"""

EXAMPLES = r"""
- name: Set up the event database
  campus.mailgate.event_database:
    address: 198.18.0.30
    directory: /etc/mailgate-event-database
    gateways:
      - {host: gw1, user: mailgate_gw1, addresses: [198.18.0.25]}
"""

RETURN = r"""
changes:
  description: What changed, or would change in check mode.
  type: list
  elements: str
  returned: success
  sample: [database mailgate, user mailgate_gw1]
left:
  description: What stays, each with the reason.
  type: list
  elements: str
  returned: success
  sample: []
empty:
  description: With O(state=absent), whether the cluster has no database of anybody any more.
  type: bool
  returned: success
"""

from collections.abc import Sequence
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._keep.kept import KeptError
from ..module_utils._postgresql.server import DatabaseError
from ..module_utils._postgresql.setup import EventDatabase, Outcome, Wanted, gateways
from ..module_utils._results import text_only

GATEWAY = {
    "host": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "required": True},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "database": {"type": "str", "default": "mailgate"},
            "directory": {"type": "path", "required": True},
            "gateways": {"type": "list", "elements": "dict", "default": [], "options": GATEWAY},
            "memory_high": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "checked", "absent"], "default": "present"},
            "remove": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params

    def run(command: Sequence[str], text: str) -> tuple[int, str, str]:
        """Run a command with a text as input, in English."""
        result: tuple[int, str, str] = module.run_command(
            list(command), data=text, binary_data=True, environ_update={"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
        )
        return result

    directory = Path(given["directory"])
    wanted = Wanted(
        given["address"],
        given["port"],
        given["database"],
        directory,
        gateways(given["gateways"], directory),
        given["memory_high"],
    )
    database = EventDatabase(run, wanted, check_only=module.check_mode)
    try:
        if given["state"] == "absent":
            outcome = database.absent(remove=given["remove"])
        elif given["state"] == "present":
            outcome = database.present()
        else:
            outcome = Outcome()
            if found := database.conflicts():
                raise DatabaseError("; ".join(found))
    except (DatabaseError, KeptError, OSError) as error:
        module.fail_json(msg=f"event database: {error}")
    module.exit_json(
        changed=bool(outcome.changed),
        changes=outcome.changed,
        left=outcome.left,
        empty=outcome.empty,
        diff=outcome.diff if module._diff else [],  # Ansible has no public name for it
    )


if __name__ == "__main__":
    main()
