# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The campus's mail gateway: refuses relaying, scans, and answers 250 only for what it has delivered."""

from __future__ import annotations

__version__ = "0.2.0"
