# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight mail readers that look for an infection in messages that the gateway delivers."""
