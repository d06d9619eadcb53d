# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a period, of one gateway or several: sums, tables, and a page with charts.

The collection's filters import this package too, by another name: of the rest of `mailgate`, it imports `translation`
only, and relatively.
"""
