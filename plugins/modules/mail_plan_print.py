#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of mail_plan_print; the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_plan_print
short_description: Write a campus's mail plan for people, and tell what changed since an earlier one
version_added: 0.1.0
author: mailgate contributors (@mailgate)
description:
  - Writes the plan that M(campus.mailgate.mail_plan) returned as a family of files into a directory of the controller.
    For all, and below C(faculties/) for each faculty, there are the delivery list, the MX lines, the STATIC routes and
    the open servers as C(.txt), C(.csv) and C(.json), and one C(plan.html) with a picture of the campus.
  - The page needs no other file, no script and no network, and prints on A4, each faculty from a new sheet on.
  - C(plan.json) is the whole plan. Keep it, and give it later as O(since) to see what changed.
  - Only files that differ are written. Print-outs of faculties that are no more are removed, if the directory holds a
    C(plan.json); other files are left alone.
  - All is in the campus's language, C(mailgate_language).
extends_documentation_fragment:
  - campus.mailgate.attributes
  - campus.mailgate.attributes.controller
options:
  plan:
    description: The result of M(campus.mailgate.mail_plan).
    type: dict
    required: true
  dest:
    description:
      - Directory on the controller, made when missing. Without it nothing is written.
      - At least one of O(dest) and O(since) is needed.
    type: path
  since:
    description: File C(plan.json) of an earlier run, to compare with. It is read before anything is written.
    type: path
  show:
    description: Print the difference on the screen.
    type: bool
    default: false
notes:
  - CSV files are for spreadsheets. They are in UTF-8 with a byte order mark, and an apostrophe stands before a cell
    that a spreadsheet would run as a formula. Programs should read the JSON files.
seealso:
  - module: campus.mailgate.mail_plan
"""

EXAMPLES = r"""
- name: Compute the plan from the inventory
  campus.mailgate.mail_plan:
  run_once: true
  register: mailgate_plan

- name: Write the print-outs, with what changed since the last cut-over
  campus.mailgate.mail_plan_print:
    plan: "{{ mailgate_plan }}"
    dest: print-outs
    since: archive/2026-spring.json
  run_once: true
"""

RETURN = r"""
paths:
  description: The files that were written or removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [print-outs/plan.html]
fingerprint:
  description: Short number that is the same for two plans exactly when their tables are. It stands on every page.
  returned: success
  type: str
  sample: 3f0b1c9e77aa
difference:
  description: What changed since the earlier plan.
  returned: when O(since) is given
  type: dict
  contains:
    same:
      description: Nothing changed.
      type: bool
    since:
      description: The earlier plan's fingerprint.
      type: str
    text:
      description: The changes for people, in the campus's language.
      type: str
"""
