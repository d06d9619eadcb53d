# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What eight mail readers extract from messages: files that contain a mark.

Python's two parsers, munpack, ripmime, MIME-tools, GMime, mailparser and postal-mime. Each runs once for many messages,
except munpack and ripmime, which open one at a time.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from email import message_from_bytes, policy
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
NODE_MODULES = HERE.parents[1] / ".cache/readers/node_modules"
NAMES = (
    *("Python compat32", "Python default", "munpack", "ripmime"),
    *("MIME-tools", "GMime", "mailparser", "postal-mime"),
)
_SECONDS = 600


class Extracted(NamedTuple):
    """A file with a mark: the index of its message, the reader that extracts it, and its content."""

    message: int
    reader: str
    content: bytes


def missing() -> str:
    """Return which readers are not installed here, or an empty string."""
    absent = [name for name in ("munpack", "ripmime", "node") if not shutil.which(name)]
    if not (NODE_MODULES / "mailparser").is_dir() or not (NODE_MODULES / "postal-mime").is_dir():
        absent.append("mailparser and postal-mime")
    checks = {
        "MIME-tools": ["perl", "-MMIME::Parser", "-e1"],
        "GMime": ["/usr/bin/python3", "-c", 'import gi; gi.require_version("GMime", "3.0")'],
    }
    absent += [
        name for name, command in checks.items() if subprocess.run(command, capture_output=True, check=False).returncode
    ]
    return f"mail readers missing: {', '.join(absent)} (make setup-tests)" if absent else ""


def extract(messages: Sequence[bytes], marks: Sequence[bytes]) -> list[Extracted]:
    """Return the files in which a reader finds a mark; the messages have CRLF line ends, as on the wire."""
    found = [
        Extracted(number, name, content)
        for number, raw in enumerate(messages)
        for name, content in _python(raw)
        if any(mark in content for mark in marks)
    ]
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="readers", dir=shared if shared.is_dir() else None) as name:
        directory = Path(name)
        paths = []
        for number, raw in enumerate(messages):
            # A mailbox has lines with LF.
            paths.append(directory / f"{number}.eml")
            paths[-1].write_bytes(raw.replace(b"\r\n", b"\n"))
        hexed = [mark.hex() for mark in marks]
        batches = [
            (["perl", str(HERE / "mime_tools.pl"), *hexed], directory),
            (["/usr/bin/python3", str(HERE / "gmime_reader.py"), *hexed], directory),
            (["node", str(HERE / "node_readers.mjs"), *hexed], NODE_MODULES.parent),
        ]
        for command, cwd in batches:
            found += _batch(command, cwd, paths)
        for number, path in enumerate(paths):
            for reader, content in _unpacked(path, directory / "out"):
                if any(mark in content for mark in marks):
                    found.append(Extracted(number, reader, content))
    return found


def _python(raw: bytes) -> Iterator[tuple[str, bytes]]:
    for name, rules in (("Python compat32", policy.compat32), ("Python default", policy.default)):
        for text in (raw, raw.replace(b"\r\n", b"\n")):
            try:
                for part in message_from_bytes(text, policy=rules).walk():  # type: ignore[arg-type]
                    if not part.is_multipart():
                        yield name, bytes(part.get_payload(decode=True) or b"")  # type: ignore[arg-type]
            except Exception:  # the parser's own bugs
                continue


def _batch(command: Sequence[str], cwd: Path, paths: Sequence[Path]) -> Iterator[Extracted]:
    left = list(enumerate(paths))
    while left:
        text = "".join(f"{path}\n" for _number, path in left)
        done = subprocess.run(command, cwd=cwd, input=text.encode(), capture_output=True, timeout=_SECONDS, check=False)
        lines = done.stdout.splitlines()
        for (number, _path), line in zip(left, lines, strict=False):
            yield from (Extracted(number, reader, base64.b64decode(content)) for reader, content in json.loads(line))
        if done.returncode and not lines:
            # Fails before the first of these messages is read, or at it: no result is not a clean one.
            raise RuntimeError(f"{command[0]}: {done.stderr.decode(errors='replace')[-500:]}")
        left = left[len(lines) + 1 :] if done.returncode else []


def _unpacked(path: Path, out: Path) -> Iterator[tuple[str, bytes]]:
    commands = {
        "munpack": ["munpack", "-q", "-f", "-t", "-C", str(out), str(path)],
        "ripmime": ["ripmime", "-i", str(path), "-d", str(out)],
    }
    for reader, command in commands.items():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        try:
            subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            continue
        for file in out.rglob("*"):
            if file.is_file() and not file.is_symlink():
                yield reader, file.read_bytes()
