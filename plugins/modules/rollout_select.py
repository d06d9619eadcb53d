#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_select; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_select
short_description: Select the phases of a rollout and the part of the plan that they concern
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Validates the variables of the playbooks C(rollout), C(rollback) and C(status), and fails with all problems.
  - Returns the plan. With O(faculty) its MX records are those of the faculty's domains only, and its STATIC routes are
    those to these domains; RV(partial) says that everything else on a host must stay.
extends_documentation_fragment:
  - campus.mailgate.inputs.plan
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Runs on the controller only.
    support: full
options:
  phase:
    description: The only phase of the run.
    type: str
    default: ''
  to:
    description: The last phase of the run; with O(back) the phase that stays.
    type: str
    default: ''
  faculty:
    description: The faculties of the run, separated by commas. By default all.
    type: str
    default: ''
  back:
    description: Whether the phases are taken back.
    type: bool
    default: false
seealso:
  - module: campus.mailgate.rollout_check
"""

EXAMPLES = r"""
- name: Select the phases up to the MX records for one faculty
  campus.mailgate.rollout_select:
    plan: "{{ mailgate_plan }}"
    to: mx
    faculty: engineering
  run_once: true
  register: mailgate_plan
"""

RETURN = r"""
phases:
  description: The phases of the run in their order; with O(back) those to take back, the last one first.
  returned: success
  type: list
  elements: str
  sample: [survey, routes, gateways, ttl, mx]
faculties:
  description: The faculties of the run, empty for all.
  returned: success
  type: list
  elements: str
  sample: [engineering]
concerned:
  description: The routes of the plan to the domains of these faculties.
  returned: success
  type: list
  elements: dict
partial:
  description: Whether the tables are a part of the plan.
  returned: with O(faculty)
  type: bool
"""
