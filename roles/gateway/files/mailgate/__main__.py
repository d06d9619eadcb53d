# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of `python3 -m mailgate`."""

from __future__ import annotations

import sys

from mailgate.cli import main

if __name__ == "__main__":
    sys.exit(main())
