# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Web page for postmaster and faculties.

`mailgate web` serves it and has no rights on any file of the gateway; `mailgate web-data` runs as the gateway's user
and answers a few questions over a socket.
"""
