# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusal rules: decide on a recipient by client, HELO, sender and DNS, before any server or the scanner is asked."""
