# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""What modules of this collection support, for their documentation; a module says what differs."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of modules."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode, and says what it would change.
    support: full
  diff_mode:
    description: Shows in diff mode what changes, or would in check mode.
    support: full
"""

    CONTROLLER = r"""
options: {}
attributes:
  action:
    description: Has an action plugin, which does all of it on the controller.
    support: full
"""
