# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bar chart of throughput and CPU per message size, relative to the peer."""

from __future__ import annotations

from typing import Any

WIDTH, ROW, LEFT = 640, 26, 170


def bars(result: dict[str, Any]) -> str:
    """Return an SVG of the ratios to Postfix with clamav-milter, with marks for the targets."""
    rows: list[tuple[str, float, float]] = []
    for size, row in result["sizes"].items():
        wanted = row["targets"]
        rows.append((f"{size} KiB messages/s", row["rate_ratio"], wanted["rate_ratio"]))
        rows.append((f"{size} KiB own CPU", row["cpu_ratio"], wanted["cpu_ratio"]))
    maximum = max(max(value, target) for _name, value, target in rows) * 1.1
    scale = (WIDTH - LEFT - 20) / maximum
    height = 60 + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif"'
        f' font-size="12"><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="10" y="20" font-size="14">mailgate / (Postfix + clamav-milter); | marks the target</text>',
    ]
    for number, (name, value, target) in enumerate(rows):
        y = 36 + ROW * number
        colour = "#2a6f97" if "messages" in name else "#c77b30"
        parts.append(
            f'<text x="10" y="{y + 14}">{name}</text>'
            f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{ROW - 8}" fill="{colour}"/>'
            f'<text x="{LEFT + value * scale + 4:.1f}" y="{y + 14}">{value:.2f}</text>'
            f'<line x1="{LEFT + target * scale:.1f}" x2="{LEFT + target * scale:.1f}" y1="{y - 3}" y2="{y + ROW - 5}"'
            ' stroke="#000" stroke-width="2"/>'
        )
    one = LEFT + scale
    parts.append(f'<line x1="{one:.1f}" x2="{one:.1f}" y1="30" y2="{height - 20}" stroke="#999" stroke-dasharray="3"/>')
    return "".join(parts) + "</svg>\n"
