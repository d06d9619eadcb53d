# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SMTP client: connections to next hops, their pool, submission to the queue."""
