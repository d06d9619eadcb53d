# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Index of events: what `mailgate search`, `trace` and `report` read. No message waits for it."""
