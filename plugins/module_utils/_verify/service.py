# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a host that show whether it still is as it was made: a survey, and the state of what was installed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .._border import state as guard
from .._border.system import BANS_FILE
from .._keep.kept import ANY, KeptError, Record, State, is_own, records, state
from .._keep.store import STORE
from .._keep.text import content
from .._survey.host import Question, survey
from .._survey.reader import Reader

_SIGNATURES = "/var/lib/clamav"
_SUFFIXES = (".cvd", ".cld", ".cud", ".ndb", ".hdb", ".hsb", ".mdb", ".ldb", ".yar")
_TTL_FILE = "/var/lib/bind_mx_ttl.json"
_COMPILED = ".db"
_SHARED = frozenset({"/etc/aliases"})
"""Files in which packages too write lines; ours are a marked block."""
_ZONES = "bind_mx zones"
_BEGIN = b"BEGIN campus.mailgate"
_QUEUE_SECONDS = re.compile(r"^T(\d+)$", re.MULTILINE)
_READ = 2000


def facts(question: Question, reader: Reader, store: Path = STORE) -> dict[str, Any]:
    """Return the facts of this host."""
    found = survey(question, reader)
    found["kept"] = _attempt(found, "kept", lambda: list(changed_files(store)))
    mail = found.get("mail") or {}
    if "queue" in found:
        found["queue"]["oldest"] = _attempt(found, "queue", lambda: _oldest(reader, str(mail.get("queue", ""))))
    if "gateways" in question.functions:
        found["service"] = _attempt(found, "service", lambda: _service(reader))
        found["signatures"] = _attempt(found, "signatures", lambda: _newest(reader))
    if "borders" in question.functions:
        found["guard"] = _attempt(found, "guard", lambda: _border(reader))
    if "dns" in question.functions:
        found["lowered"] = reader.exists(_TTL_FILE)
    found["clock"] = time.time()
    return found


def _attempt(found: dict[str, Any], name: str, get: Callable[[], Any]) -> Any:
    """Return a part, or None with a note if it fails."""
    try:
        return get()
    except (OSError, ValueError, KeptError) as error:
        found["notes"].append(f"{name} cannot be read: {error}")
        return None


def changed_files(store: Path) -> Iterator[dict[str, Any]]:
    """Yield the managed files that are not as they were written."""
    for record in records(store):
        now = state(record)
        if now is State.OURS or _others(record) or (now is State.EDITED and _has_our_block(record)):
            continue
        yield {"path": record.path, "state": now.name.lower(), "own": is_own(Path(record.path)), "by": record.by}


def _others(record: Record) -> bool:
    """Return whether others write the file too: compiled tables, signatures, and zones, which DNS answers show."""
    return record.path.endswith(_COMPILED) or ANY in record.written or record.by == _ZONES


def _has_our_block(record: Record) -> bool:
    return record.path in _SHARED and _BEGIN in (content(Path(record.path)) or b"")


def _oldest(reader: Reader, directory: str) -> int:
    """Return the age of the oldest message in a queue, in seconds; 0 without one."""
    if not directory:
        return 0
    top = reader.at(str(Path(directory).parent) if "*" in directory else directory)
    now = time.time()
    oldest = now
    for number, path in enumerate(top.rglob("*") if top.is_dir() else ()):
        if number >= _READ or reader.left <= 0:
            break
        if path.is_file() and (path.name[:2] in {"qf", "hf"} or path.parent.parent.name in {"deferred", "incoming"}):
            since = _QUEUE_SECONDS.search((reader.text(path) or "")[:_READ]) if path.name[:2] in {"qf", "hf"} else None
            oldest = min(oldest, float(since[1]) if since else path.stat().st_mtime)
    return max(0, int(now - oldest))


def _service(reader: Reader) -> dict[str, Any]:
    """Return what the service of a gateway says of itself."""
    status, out, errors = reader.run(["mailgate", "status"])
    lines = [line.strip() for line in out.splitlines()]
    _status, version, _errors = reader.run(["mailgate", "--version"])
    routed, table, problem = reader.run(["mailgate", "routes", "--format", "json"])
    return {
        "status": status,
        "failed": [line.removeprefix("FAIL").strip() for line in lines if line.startswith("FAIL")],
        "front": any(line.split()[1:2] == ["front"] for line in lines),
        "clamd": next((line.partition(": ")[2] for line in lines if " clamd " in line), ""),
        "error": "" if lines else (errors.strip() or f"exit status {status}"),
        "version": version.strip(),
        "routes": json.loads(table) if routed == 0 else None,
        "routes_error": problem.strip() if routed else "",
    }


def _newest(reader: Reader) -> int:
    """Return the time of the newest file with virus signatures, 0 without one."""
    times = [path.stat().st_mtime for path in reader.at(_SIGNATURES).glob("*") if path.suffix in _SUFFIXES]
    return int(max(times, default=0))


def _border(reader: Reader) -> dict[str, Any]:
    """Return whether the port-25 rules are in place, and what their guard has done."""
    status, out, errors = reader.run(["mailgate-border", "check"])
    _status, active, _errors = reader.run(["systemctl", "is-active", "mailgate-border-guard.service"])
    count = guard.read(reader.at(BANS_FILE.parent))
    return {
        "status": status,
        "problems": out.splitlines(),
        "error": errors.strip(),
        "active": active.strip(),
        "repairs": count.repairs,
        "last": count.last,
        "by": count.last_by,
        "stopped": count.stopped,
    }
