# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host keeps what was there before its first change, and what was applied."""

from __future__ import annotations

from pathlib import Path

STORE = Path("/var/backups/mailgate")
"""The directory of a host; only root can read it."""
