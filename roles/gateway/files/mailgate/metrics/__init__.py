# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics that workers count: what they are, the memory that holds them, and what adds to them."""
