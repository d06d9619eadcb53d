# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Documentation fragment: the attributes that the modules of this collection have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of modules."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and predict the changes.
    support: full
  diff_mode:
    description: Returns the differences in diff mode.
    support: full
"""

    CONTROLLER = r"""
options: {}
attributes:
  action:
    description: Runs on the controller only, as an action plugin.
    support: full
"""
