# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Section `[metrics]` of the settings: metrics for Prometheus and pages for load balancers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mailgate.setting import setting


@dataclass(frozen=True)
class MetricSettings:
    """Section `[metrics]`."""

    # Each an Endpoint of `config`, which imports this module.
    listen: tuple[Any, ...] = setting(
        (),
        "Addresses and ports for HTTP with `/metrics` (Prometheus), `/health` and `/ready` (load balancers), without"
        " encryption or password: use loopback, or a network for administration. If empty, nothing is counted.",
        form="endpoint",
    )
    queue_directory: str = setting(
        "/var/spool/mqueue",
        "Directory of the queue, whose messages are counted if the service may list it; empty for none.",
        form="path",
    )
