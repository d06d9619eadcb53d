#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of mail_plan_print; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_plan_print
short_description: Write reports of a mail plan, with the changes since an earlier plan
version_added: 0.1.0
author: mailgate contributors (@mailgate)
description:
  - Writes reports of the plan that M(campus.mailgate.mail_plan) returned into a directory of the controller. For the
    campus, and below C(faculties/) for each faculty, these are the delivery list, the MX records, the STATIC routes and
    the open servers as C(.txt), C(.csv) and C(.json), and a C(plan.html) with a picture of the campus.
  - The page is self-contained, without scripts, and prints on A4, each faculty from a new page on.
  - C(plan.json) is the whole plan. Keep it, and use it later as O(since) to see the changes.
  - Only files that differ are written. Reports of former faculties are removed if the directory has a C(plan.json);
    other files are not touched.
  - Reports are in the language of the campus, C(mailgate_language).
extends_documentation_fragment:
  - campus.mailgate.inputs.plan
  - campus.mailgate.attributes
  - campus.mailgate.attributes.controller
options:
  dest:
    description:
      - Directory on the controller, created if missing. Without it nothing is written.
      - At least one of O(dest) and O(since) is required.
    type: path
  since:
    description: The C(plan.json) of an earlier run, to compare with. It is read before anything is written.
    type: path
  show:
    description: Display the changes.
    type: bool
    default: false
notes:
  - CSV files are for spreadsheets. They are in UTF-8 with a byte order mark, and a cell that would be a formula is
    prefixed with an apostrophe. Programs should read the JSON files.
seealso:
  - module: campus.mailgate.mail_plan
"""

EXAMPLES = r"""
- name: Compute the plan from the inventory
  campus.mailgate.mail_plan:
  run_once: true
  register: mailgate_plan

- name: Write the reports, with the changes since the last cut-over
  campus.mailgate.mail_plan_print:
    plan: "{{ mailgate_plan }}"
    dest: reports
    since: archive/2026-spring.json
  run_once: true
"""

RETURN = r"""
paths:
  description: The files that were written or removed; in check mode, those that would be.
  returned: success
  type: list
  elements: str
  sample: [reports/plan.html]
fingerprint:
  description: A hash that is equal for two plans exactly if their tables are equal. It is on every page.
  returned: success
  type: str
  sample: 3f0b1c9e77aa
difference:
  description: The changes since the earlier plan.
  returned: when O(since) is given
  type: dict
  contains:
    same:
      description: There are no changes.
      type: bool
    since:
      description: The fingerprint of the earlier plan.
      type: str
    text:
      description: The changes as text, in the language of the campus.
      type: str
"""
