# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter: a process of its own that serves metrics and health by HTTP, apart from all mail."""
