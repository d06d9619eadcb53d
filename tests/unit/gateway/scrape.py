# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to an exporter, and samples of what it answers."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from gateway_doubles import PATIENCE
from prometheus_client.parser import text_string_to_metric_families

from mailgate.metrics.series import COUNTED, PREFIX, READ

Samples = dict[tuple[str, tuple[str, ...]], float]


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    """Return status, type and body of a reply."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.getheader("Content-Type", ""), reply.read().decode()
    finally:
        connection.close()


def parse(text: str) -> Samples:
    """Return the values by name and values of the labels, in the order in which these are declared."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = COUNTED.get(family.name.removeprefix(PREFIX)) or READ[family.name.removeprefix(PREFIX)]
            key = (
                sample.name,
                tuple(sample.labels[label] for label in (*series.labels, "le") if label in sample.labels),
            )
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


async def scrape(port: int) -> Samples:
    """Return what the exporter says now."""
    status, _type, body = await asyncio.to_thread(get, port, "/metrics")
    assert status == 200
    return parse(body)


async def page(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and content of a page for load balancers."""
    status, _type, body = await asyncio.to_thread(get, port, path)
    return status, json.loads(body)


async def scraped(port: int, holds: Callable[[Samples], object], seconds: float = PATIENCE) -> Samples:
    """Scrape until a condition holds: an exporter starts after the workers."""
    deadline = time.monotonic() + seconds
    found: Samples = {}
    while time.monotonic() < deadline:
        try:
            found = await scrape(port)
        except OSError:
            found = {}
        if found and holds(found):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"the condition did not hold within {seconds} s: {found}")
