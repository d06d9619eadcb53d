#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Documentation of mail_survey_print; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_survey_print
short_description: Report the survey of all hosts
version_added: 0.3.0
author: mailgate contributors (@mailgate)
description:
  - Makes one page of the answers of all hosts, as HTML, text and JSON, with three lists. These are the hosts that are
    ready, those with conflicts that must be decided first, and those that cannot be changed, with the reason.
  - Also proposes what the inventory does not have yet, as a file in the syntax of an inventory.
  - Fails only if no host could be asked.
extends_documentation_fragment:
  - campus.mailgate.attributes
  - campus.mailgate.attributes.controller
options:
  plan:
    description: The result of M(campus.mailgate.mail_plan), also one without a plan.
    type: dict
    required: true
  answers:
    description: The results of M(campus.mailgate.mail_survey).
    type: list
    elements: dict
    required: true
  dest:
    description:
      - The directory for C(survey.html), C(survey.txt), C(survey.json) and C(additions.yml). It is created if it does
        not exist.
    type: path
  inventory:
    description:
      - The directory of an inventory, for the proposed values as C(zz-survey.yml). Other files are not changed, but
        values of this one take precedence. Delete the file to undo it.
    type: path
  show:
    description: Display RV(text).
    type: bool
    default: false
seealso:
  - module: campus.mailgate.mail_survey
"""

EXAMPLES = r"""
- name: Write the page
  campus.mailgate.mail_survey_print:
    plan: "{{ mailgate_plan }}"
    answers: "{{ ansible_play_hosts_all | map('extract', hostvars) | map(attribute='mailgate_survey_answer') | list }}"
    dest: reports
  run_once: true
"""

RETURN = r"""
lists:
  description: The names of the hosts in C(ready), C(conflicts) and C(cannot).
  returned: success
  type: dict
text:
  description: The three lists, without facts that need no decision.
  returned: success
  type: str
paths:
  description: The files that changed.
  returned: success
  type: list
  elements: str
asked:
  description: The number of hosts that answered.
  returned: success
  type: int
"""
