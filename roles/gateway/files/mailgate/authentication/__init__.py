# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail authentication: SPF, DKIM, DMARC, ARC and Authentication-Results, as pure functions of a message and of DNS."""
