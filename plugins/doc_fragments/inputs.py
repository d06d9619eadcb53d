# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Documentation fragments: options that several modules have."""

from __future__ import annotations


class ModuleDocFragment:
    """Options."""

    NAMED_CONF = r"""
options:
  named_conf:
    description: The server's configuration, which names the files of the zones.
    type: path
    default: /etc/bind/named.conf
"""

    PLAN = r"""
options:
  plan:
    description: The result of M(campus.mailgate.mail_plan).
    type: dict
    required: true
"""
