# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal: the rollout and the way back on a twin under constant mail, with an account of every message."""
