# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files inside archives, by 7zz (Debian: 7zip), for methods and formats that libarchive does not know.

The program lists the archive, then writes the contents to a pipe one after the other; it writes no files. Only the
unpacker's process starts it, and its limits apply to the program too.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import IO

from mailgate.archives.frames import TOO_LONG
from mailgate.archives.libarchive import CHUNK, Reading

PROGRAM = "7zz"
# No question about a password, no threads, and UTF-8 for names.
_OPTIONS = ("-p", "-bd", "-mmt=off", "-sccUTF-8", "-scsUTF-8")
_MAX_LINE = 64 * 1024
_MAX_ENTRIES = 20_000


def installed() -> bool:
    """Return whether the program is there."""
    return shutil.which(PROGRAM) is not None


def read(content: bytes, result: Reading, *, kind: str = "") -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the name and the content, in pieces, of each entry that is not a directory.

    Args:
        content: The archive.
        result: What was found, complete when the iteration ends.
        kind: The program's name of the format, if it is not to try others.
    """
    only = (f"-t{kind}",) if kind else ()
    with _file(content) as path:
        with _run("l", "-slt", "-ba", *only, path) as process:
            assert process.stdout
            entries = list(_listed(process.stdout, result))
            process.stdout.close()
            listed = process.wait()
        result.entries = len(entries)
        if not entries:
            result.failed = TOO_LONG if listed == -signal.SIGXCPU else "not an archive that 7zz can open"
            return
        with _run("x", "-so", *only, path) as process:
            assert process.stdout
            for name, size in entries:
                yield name, _pieces(process.stdout, size, result)
            if process.stdout.read(1):
                result.failed = "more content than listed"
            process.stdout.close()
            ended = process.wait()
            if -signal.SIGXCPU in (ended, listed):
                result.failed = TOO_LONG
            elif ended or listed:
                result.failed = result.failed or "damaged"


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    handle = os.memfd_create("archive", 0)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


@contextlib.contextmanager
def _run(command: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    *options, path = arguments
    handle = int(path.rpartition("/")[2])
    with subprocess.Popen(
        [PROGRAM, command, *options, *_OPTIONS, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(handle,),
        cwd="/",
    ) as process:
        _limit(process.pid)
        try:
            yield process
        finally:
            process.kill()


def _limit(pid: int) -> None:
    """Let the program use the rest of this process's time only."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft != resource.RLIM_INFINITY:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        left = max(1, soft - int(sum(usage.ru_utime + usage.ru_stime for usage in used)))
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_CPU, (left, left + 1))


def _listed(out: IO[bytes], result: Reading) -> Iterator[tuple[str, int]]:
    """Yield names and sizes; a size that is not known is negative."""
    entry: dict[str, str] = {}
    for _number in range(_MAX_ENTRIES * 30):
        raw = out.readline(_MAX_LINE)
        line = raw.decode("utf-8", "replace").rstrip("\n")
        if " = " in line or line.endswith(" ="):
            name, _equals, value = line.partition(" =")
            entry[name] = value.strip()
        elif entry:
            if entry.get("Encrypted") == "+":
                result.encrypted = True
            if entry.get("Folder") != "+" and not entry.get("Attributes", "").startswith("D"):
                yield entry.get("Path", ""), int(entry["Size"]) if entry.get("Size", "").isdigit() else -1
            entry = {}
        if not raw:
            return
    result.failed = "too many entries"


def _pieces(out: IO[bytes], size: int, result: Reading) -> Iterator[bytes]:
    left = size
    while left:
        data = out.read(CHUNK if left < 0 else min(left, CHUNK))
        if not data:
            break
        left -= len(data) if left > 0 else 0
        yield data
    if left > 0:
        result.failed = "content is missing"
