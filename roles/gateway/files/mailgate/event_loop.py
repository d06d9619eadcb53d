# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event loop of the workers: uvloop's where the system has it, otherwise that of asyncio."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable

log = logging.getLogger("mailgate")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def find_loop(wanted: str) -> tuple[LoopFactory | None, str]:
    """Return what makes an event loop, and the name of the loop with its version; never raise.

    A system without uvloop, or with one that does not load, gets the loop of asyncio with any setting: mail
    must not depend on it.

    Args:
        wanted: The setting `event_loop`.

    Returns:
        The factory, None for the loop of asyncio; and for example `uvloop 0.21.0`.
    """
    if wanted == "asyncio":
        return None, "asyncio"
    try:
        # It is compiled, so it is not part of the archive but a package of the system.
        module = importlib.import_module("uvloop")
        factory: LoopFactory = module.new_event_loop
        return factory, f"uvloop {module.__version__}"
    except ModuleNotFoundError:
        return None, "asyncio; uvloop is not installed"
    except Exception as error:
        log.exception("uvloop does not load")
        return None, f"asyncio; uvloop does not load: {error}"
