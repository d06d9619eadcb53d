# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twin: boots the hosts of an inventory as real Debian systems in network namespaces of one machine."""
