# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands where ansible-test looks for its cached copy of get-pip.py, which only its own site serves.

It does what that script does, with the pip that Python carries: puts the releases named on the command line into the
environment that runs it.
"""

from __future__ import annotations

import subprocess
import sys

ONLY_GET_PIP_KNOWS = ("--no-setuptools", "--no-wheel")

# A process of its own: ensurepip switches pip's configuration off in the process that calls it.
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
options = [word for word in sys.argv[1:] if word not in ONLY_GET_PIP_KNOWS]
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", *options], check=False).returncode)
