# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What unit tests of several areas share."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest


@pytest.fixture
def module_arguments(monkeypatch) -> Callable[[dict[str, Any]], AbstractContextManager[None]]:
    """Return a function that sets the arguments of a module that runs in this process."""
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:  # ansible-core before 2.19
        from contextlib import nullcontext

        from ansible.module_utils import basic

        def patch_module_args(args):
            monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode())
            return nullcontext()

    return patch_module_args
