# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What unit tests of several areas share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest


def _reference_seconds() -> float:
    """Return the CPU time of a fixed piece of work."""
    began = time.thread_time()
    sum(number % 7 for number in range(360_000))
    return time.thread_time() - began


@pytest.fixture
def cpu_seconds() -> Callable[[Callable[[], object]], float]:
    """Return a function that returns the CPU time of a call, as it would be on a machine of a certain speed.

    That is a processor which does the reference work in 10 ms; a slower or busier one changes both times.
    """

    def measure(call: Callable[[], object]) -> float:
        before = _reference_seconds()
        began = time.thread_time()
        call()
        used = time.thread_time() - began
        return used * 0.01 / max(before, _reference_seconds())

    return measure


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
