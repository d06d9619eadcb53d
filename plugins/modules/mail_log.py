#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module mail_log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_log
short_description: Find messages in the log of a mail server
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Reads the log of sendmail or Postfix (the journal, or C(/var/log/mail.log) or C(/var/log/maillog)) until all
    messages are delivered or the time has passed, and returns what it says about each. Changes nothing.
options:
  ids:
    description: The Message-IDs, in angle brackets.
    type: list
    elements: str
    default: []
  queues:
    description: Queue ids; with them, RV(lines) is returned in place of RV(found), and nothing is waited for.
    type: list
    elements: str
    version_added: 0.3.0
  since:
    description: From when on the log is read, in seconds since 1970.
    type: float
    required: true
  seconds:
    description: How long to wait for messages that are not delivered yet.
    type: int
    default: 60
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
seealso:
  - module: campus.mailgate.mail_send
"""

EXAMPLES = r"""
- name: Wait until the message is delivered
  campus.mailgate.mail_log:
    ids: ["{{ sent.messages[0].id }}"]
    since: "{{ sent.messages[0].started - 300 }}"
  register: logged

- name: Read what the log says about two queue ids
  campus.mailgate.mail_log:
    queues: [5AUH6Vab012345, 4XyZ123abcz]
    since: "{{ now().timestamp() - 86400 }}"
"""

RETURN = r"""
found:
  description: What the log says about the messages that it has, by Message-ID.
  returned: without O(queues)
  type: dict
  contains:
    queue:
      description: The queue id of the message.
      type: str
    client:
      description: The host that it came from, as the log has it.
      type: str
    delivered:
      description: Whether the last attempt succeeded.
      type: bool
    status:
      description: The status of the last attempt, as the log has it; empty without an attempt.
      type: str
    delay:
      description: The time from its arrival on this host to the last attempt, as the log has it.
      type: str
lines:
  description: All lines about messages with one of O(queues) or O(ids), in their order.
  returned: with O(queues)
  type: list
  elements: dict
  contains:
    time:
      description: The time in seconds since 1970; V(0) if the log is a file.
      type: float
    queue:
      description: The queue id.
      type: str
    text:
      description: The line after the queue id.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._results import text_only
from ..module_utils._survey.reader import Reader
from ..module_utils._verify.mail_log import find, read

SECONDS_EACH = 20.0


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec={
            "ids": {"type": "list", "elements": "str", "default": []},
            "queues": {"type": "list", "elements": "str"},
            "since": {"type": "float", "required": True},
            "seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    reader = Reader(params["seconds"], SECONDS_EACH)
    if params["queues"] is not None:
        module.exit_json(changed=False, lines=read(reader, params["ids"], params["queues"], params["since"]))
    found = find(reader, params["ids"], params["since"])
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
