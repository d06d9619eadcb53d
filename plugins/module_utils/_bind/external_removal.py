# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Take back the external zones of a split DNS without ending their service.

While the server's configuration has an external view with a generated zone, removing its file would end that zone for
all external clients at the next start. So the zone stays, with the same MX records as the internal one, and the timer
keeps it so, until the admin has changed the view.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._keep.kept import ANY, KeptError, keep, keep_hashes, plan_restore, records, restore
from .._replace import replace_all
from .._zone.file import ZoneError
from .external import ExternalZone, refresh, request_from
from .named_conf import PRIMARY
from .server import Bind

BY = "bind_mx external zones"
"""Generated files are recorded under this name; any of their contents is ours."""
ROLE = "bind_mx"


@dataclass
class Removed:
    """The zones that stay, the files that were removed or restored, and what the admin should know."""

    zones: Sequence[ExternalZone] = ()
    files: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    changed: bool = False


def record(paths: Sequence[Path], store: Path) -> None:
    """Record the files of external zones before the first one is generated; raise ZoneError on failure."""
    try:
        keep_hashes(dict.fromkeys(paths, ANY), BY, store)
    except (KeptError, OSError) as error:
        raise ZoneError(f"nothing was changed: {error}") from error


def remove(bind: Bind, settings: Path, store: Path, *, force: bool, check_only: bool) -> Removed:
    """Remove the generated files that are not served, or with `force` all of them; keep the others without own records.

    Args:
        bind: The server.
        settings: The file with the options of the timer's program.
        store: Where files are kept.
        force: Remove files that the configuration still names.
        check_only: Change nothing.

    Raises:
        ZoneError: Nothing was changed.
    """
    try:
        result = Removed()
        before = settings.read_bytes() if settings.exists() else None
        generated = [Path(each.path) for each in records(store) if each.by == BY]
        values = json.loads(before) if before else None
        served = [] if force or values is None else _served(bind, values)
        if values is not None and served:
            reduced = _settings(values, served)
            after = (json.dumps(reduced, indent=4) + "\n").encode()
            result.changed = after != before
            if result.changed and not check_only:
                _write(settings, before, after, store)
            _follow_internal(bind, reduced, result, check_only=check_only)
        stay = {zone.path for zone in result.zones}
        gone = plan_restore([path for path in generated if path not in stay], store)
        result.files = [str(each.path) for each in gone if each.path.exists()]
        result.changed |= bool(result.files)
        if not check_only:
            restore(gone, store)
    except (OSError, ValueError, KeyError, TypeError, KeptError) as error:
        raise ZoneError(f"the external zones stay as they are: {error}") from error
    return result


def _served(bind: Bind, values: Mapping[str, Any]) -> list[str]:
    """Return the external zones that the server's configuration still has."""
    view = values["outside_view"]
    zones = [zone for zone in bind.zones if zone.kind in PRIMARY and zone.file]
    there = {zone.name for zone in zones if not view or zone.view == view}
    return [zone["zone"] for zone in values["zones"] if zone["zone"].rstrip(".").lower() in there]


def _settings(values: Mapping[str, Any], served: Sequence[str]) -> dict[str, Any]:
    """Return settings by which external zones follow the internal ones."""
    return {**values, "zones": [{"zone": name, "owners": []} for name in served]}


def _follow_internal(bind: Bind, values: Mapping[str, Any], result: Removed, *, check_only: bool) -> None:
    """Give external zones the MX records of the internal ones."""
    result.zones = refresh(bind, request_from(values, check_only=check_only))
    result.changed |= any(zone.changed or zone.needs_reload for zone in result.zones)
    result.left += [
        f"the external zone {zone.zone.name} is still served from {zone.path}, with the MX records of the internal "
        "zone, and mailgate-outside.timer updates it. Let the external view serve a zone of your own, or remove the "
        "view, and run this again"
        for zone in result.zones
    ]


def _write(settings: Path, before: bytes | None, after: bytes, store: Path) -> None:
    keep({settings: after}, ROLE, store)
    replace_all({settings: before}, {settings: after})
