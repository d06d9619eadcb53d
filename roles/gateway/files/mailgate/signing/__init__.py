# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKIM signatures of outgoing mail: keys, their records in DNS, and the signatures themselves."""
