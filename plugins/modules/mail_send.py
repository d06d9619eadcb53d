#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module mail_send."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_send
short_description: Send a test message to each of some mailboxes
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Sends one short message to each mailbox, as a mail server outside would, to the first mail exchange that accepts it.
    A permanent refusal ends the attempts for this mailbox. The sender is empty, so that nothing is returned.
  - In check mode nothing is sent, and RV(messages) is empty.
  - The host needs only Python 3.11 or later.
options:
  mailboxes:
    description: The addresses of the mailboxes.
    type: list
    elements: str
    required: true
  exchanges:
    description: The mail exchanges in the order of their preference.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The name of the exchange, for the result.
        type: str
        required: true
      address:
        description: Its IPv4 or IPv6 address.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        default: 25
  helo_name:
    description: The name of this host in C(EHLO), the message and its Message-ID. The default is its full host name.
    type: str
  timeout:
    description: Seconds to wait for each connection and reply; the message is scanned before its reply.
    type: int
    default: 60
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
seealso:
  - module: campus.mailgate.mail_log
  - module: campus.mailgate.mail_verify
"""

EXAMPLES = r"""
- name: Send a test message
  campus.mailgate.mail_send:
    mailboxes: [test@eng.univ.example]
    exchanges:
      - {host: gw1.univ.example, address: 198.18.0.25}
      - {host: gw2.univ.example, address: 198.18.0.26}
  register: sent
  failed_when: sent.messages | rejectattr('accepted') | length > 0
"""

RETURN = r"""
messages:
  description: The result for each message, in the order of O(mailboxes).
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The mailbox.
      type: str
    id:
      description: The Message-ID, in angle brackets.
      type: str
    accepted:
      description: Whether an exchange accepted the message.
      type: bool
    exchange:
      description: The name of that exchange, else empty.
      type: str
    seconds:
      description: The time that it took, from the connection to the reply.
      returned: when accepted
      type: float
    attempts:
      description:
        - Each attempt with C(exchange), C(code) and C(text) of the last reply. C(code) is 0 without one, and C(text) is
          the error.
      type: list
      elements: dict
    started:
      description: When it was sent, in seconds since 1970.
      type: float
"""

import socket

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._results import text_only
from ..module_utils._verify.messages import Exchange, send

EXCHANGE = {
    "host": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 25},
}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec={
            "mailboxes": {"type": "list", "elements": "str", "required": True},
            "exchanges": {"type": "list", "elements": "dict", "required": True, "options": EXCHANGE},
            "helo_name": {"type": "str"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    wrong = [text for text in params["mailboxes"] if not text.isascii() or text.count("@") != 1 or text != text.strip()]
    if wrong:
        module.fail_json(msg=f"not an address: {', '.join(wrong)}. Write mailboxes as user@domain")
    if module.check_mode:
        module.exit_json(changed=False, messages=[])
    exchanges = [Exchange(each["host"], each["address"], each["port"]) for each in params["exchanges"]]
    messages = send(params["mailboxes"], exchanges, params["helo_name"] or socket.getfqdn(), params["timeout"])
    module.exit_json(changed=bool(messages), messages=messages)


if __name__ == "__main__":
    main()
